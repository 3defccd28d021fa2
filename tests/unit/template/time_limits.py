"""Rules for the functions' time limits: long enough for the slowest work, and short enough for those who wait."""

from __future__ import annotations

import re
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from customers.aws import clients, dynamodb
from customers.aws.dynamodb import _FIRST_PAUSE, _TRIES
from customers.imports.chunks import _ROWS
from customers.store import bulk
from customers.store.history import _MOST_REMOVED
from customers.store.pages import _SCANS
from tests.conftest import ROOT
from tests.unit.template.reading import events, functions, resources, time_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.template.reading import Rule, Template

_GATEWAY: Final = 29
"""Seconds after which API Gateway answers 504.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
"""
_LAMBDA: Final = 900
"""Seconds, the most that Lambda lets a function run.

https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

_SIGNATURE: Final = 300
"""Seconds for which AWS accepts a signed request.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
"""

# botocore-stubs declare none of its members.
STORE: Final[Any] = dynamodb._CONFIG  # noqa: SLF001
OTHERS: Final[Any] = clients._CONFIG  # noqa: SLF001

_OTHER_TRIES: Final = OTHERS.retries["total_max_attempts"]
_OTHER_CALL: Final = _OTHER_TRIES * (OTHERS.connect_timeout + OTHERS.read_timeout) + sum(
    min(2**tried, 20) for tried in range(_OTHER_TRIES - 1)
)
"""A call of S3, SQS or EventBridge at its slowest. The standard mode waits up to 1, 2, 4 … seconds, at most 20."""
_TRY: Final = STORE.connect_timeout + STORE.read_timeout
_PAUSES: Final = sum(_FIRST_PAUSE * 2**tried for tried in range(_TRIES - 1))
_CALL: Final = _TRIES * _TRY + _PAUSES
"""A call of the store that is repeated, at its slowest."""
_WRITE: Final = (_TRIES - 1) * STORE.connect_timeout + _PAUSES + _TRY
"""A write that is not repeated once it may have been carried out: connections are refused, then no response comes."""

SLOWEST: Final = {
    "GetCustomer": _CALL,
    # With a cursor, these three read the key of cursors first.
    "ListGroup": _CALL + _CALL,
    # It looks for the customer if there is no history.
    "GetHistory": _CALL + _CALL + _CALL,
    # A page of all customers takes up to two calls.
    "FindCustomers": _CALL + _SCANS * _CALL,
    # It reads the salt first.
    "GetExternal": _CALL + _CALL,
    # Without a response, they look whether the row shows the write.
    "DeleteCustomer": _WRITE + _CALL,
    # It reads the entries first.
    "UpdateCustomer": _CALL + _WRITE + _CALL,
    # It reads the salt first.
    "PutCustomer": _CALL + _WRITE + _CALL,
    # With an Idempotency-Key, it afterwards removes the note that the request is running.
    "CreateCustomers": _WRITE + _CALL + _CALL,
    # It looks up the token, and notes that it was used.
    "Authorize": _CALL + _CALL,
    "Preflight": 0.0,
}
"""Seconds that the calls of a function behind the gateway may take together, when the store does not respond."""


def a_call_ends_in_its_function_and_not_at_the_gateway(template: Template) -> Iterator[str]:
    """A slow store leads to a 503 with Retry-After from the function, never to a 504 that says nothing."""
    behind = {name for name, event in events(template) if event["Type"] == "Api"}
    for api in resources(template, "AWS::Serverless::Api").values():
        behind |= {each["FunctionArn"]["Fn::GetAtt"][0] for each in api["Auth"]["Authorizers"].values()}
    if behind != SLOWEST.keys():
        yield f"nobody knows how long these may take: {behind ^ SLOWEST.keys()}"
    for name in behind & SLOWEST.keys():
        limit = time_limit(template, name)
        if not SLOWEST[name] < limit < _GATEWAY:
            yield f"{name} ends after {limit} s, not between {SLOWEST[name]:.1f} and {_GATEWAY}"


def a_plan_runs_as_long_as_lambda_lets_it(template: Template) -> Iterator[str]:
    """A compressed file is read from its start each time its plan goes on. Short runs might never get any further."""
    if time_limit(template, "PlanImport") != _LAMBDA:
        yield "PlanImport could run longer"


def a_plan_hands_over_before_its_time_is_over(template: Template) -> Iterator[str]:
    """There is time to send its last chunks, keep its position and send the file again, even when SQS and the table are
    at their slowest. And it spends more time on reading the file than it keeps for that."""
    code = (ROOT / functions(template)["PlanImport"]["CodeUri"] / "app.py").read_text(encoding="utf-8")
    (kept,) = re.findall(r"^ENOUGH_MILLISECONDS: Final = ([0-9_]+)$", code, re.MULTILINE)
    if not 2 * _OTHER_CALL + _CALL < int(kept) / 1000 < time_limit(template, "PlanImport") / 2:
        yield f"PlanImport keeps {kept} ms"


def a_chunk_gets_in_while_the_table_refuses_most_of_it(template: Template) -> Iterator[str]:
    """A busy table has room for four rows of each batch. On average, a pause is half as long as the longest."""
    batches = ceil(_ROWS / 4)
    if time_limit(template, "ImportCustomers") < batches * bulk._LONGEST_PAUSE / 2:  # noqa: SLF001
        yield "ImportCustomers ends before its chunk is in"


def a_signature_lasts_as_long_as_what_signs_ahead(template: Template) -> Iterator[str]:
    """Imports sign all batches of a chunk before they send the first one. The table refuses a signature that is old."""
    for name in ("ImportCustomers", "CloseImport"):
        if time_limit(template, name) > _SIGNATURE:
            yield f"{name} might send a batch whose signature is over {_SIGNATURE} s old"


def what_could_not_be_imported_is_booked_while_the_table_refuses(template: Template) -> Iterator[str]:
    """`close_import` is the last to handle a chunk. It looks at all of its rows, in batches that may be refused."""
    pauses = [
        min(bulk._LONGEST_PAUSE, bulk._FIRST_PAUSE * 2**tried)  # noqa: SLF001
        for tried in range(1, bulk._TRIES)  # noqa: SLF001
    ]
    if time_limit(template, "CloseImport") < ceil(_ROWS / bulk._KEYS) * sum(pauses):  # noqa: SLF001
        yield "CloseImport ends before the store gives up"


def a_bus_that_does_not_respond_is_reported_by_the_function(template: Template) -> Iterator[str]:
    """A function that times out reports nothing, and all its changes come again. It must also end in time to try again
    before anybody is called."""
    alarm = resources(template, "AWS::CloudWatch::Alarm")["LateEventsAlarm"]
    if not _OTHER_CALL < time_limit(template, "PublishChanges") <= alarm["Threshold"] / 1000 / 2:
        yield "PublishChanges has no time, or takes the time of its repetition"


def a_history_that_cannot_be_written_is_reported_by_the_function(template: Template) -> Iterator[str]:
    """As with the bus, it reports the first call that fails, and ends in time to try again. Even removing a customer's
    500 changes, a hundred at a time, may take the longest possible time for every call."""
    alarm = resources(template, "AWS::CloudWatch::Alarm")["LateHistoryAlarm"]
    if not (2 + 2 * 500 / _MOST_REMOVED) * _CALL < time_limit(template, "KeepHistory") <= alarm["Threshold"] / 1000 / 2:
        yield "KeepHistory has no time, or takes the time of its repetition"


RULES: Final[tuple[Rule, ...]] = (
    a_call_ends_in_its_function_and_not_at_the_gateway,
    a_plan_runs_as_long_as_lambda_lets_it,
    a_plan_hands_over_before_its_time_is_over,
    a_chunk_gets_in_while_the_table_refuses_most_of_it,
    a_signature_lasts_as_long_as_what_signs_ahead,
    what_could_not_be_imported_is_booked_while_the_table_refuses,
    a_bus_that_does_not_respond_is_reported_by_the_function,
    a_history_that_cannot_be_written_is_reported_by_the_function,
)
