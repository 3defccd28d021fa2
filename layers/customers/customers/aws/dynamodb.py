"""The DynamoDB client, configured once, and which of its calls may be repeated."""

from __future__ import annotations

import json
import random
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from botocore.awsrequest import create_request_object
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionError,  # noqa: A004 (botocore's name)
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
)

from customers.aws import session
from customers.errors import OutcomeUnknownError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.awsrequest import AWSResponse
    from botocore.httpsession import URLLib3Session
    from botocore.signers import RequestSigner
    from mypy_boto3_dynamodb import DynamoDBClient

_CONFIG: Final = Config(
    # `call` repeats. Its three tries of at most three seconds, and the pauses between them, fit into the timeout of a
    # function behind the gateway (template.yaml), even if a read follows a write.
    connect_timeout=1,
    read_timeout=2,
    retries={"mode": "standard", "total_max_attempts": 1},
    # The model checks what is sent. A fixed user agent saves building one twice per call.
    parameter_validation=False,
    user_agent="customers-api",
)
_TRIES: Final = 3
_FIRST_PAUSE: Final = 0.1
"""Seconds; the longest pause before the second try. It doubles with each try."""

_REFUSALS: Final = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
"""Error codes of a call that was not carried out but may succeed later.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
"""

_CANCELLED_FOR_NOW: Final = frozenset({"ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"})
"""Reasons why a transaction was not carried out but may succeed later."""


def client() -> DynamoDBClient:
    """Return a configured client with fast paths for reads and for the batches of imports."""
    made: DynamoDBClient = session.client("dynamodb", _CONFIG)
    events = made.meta.events
    events.register("before-parse.dynamodb.GetItem", _read_items)
    events.register("before-parse.dynamodb.Query", _read_items)
    events.register("before-parse.dynamodb.Scan", _read_items)
    # What the handlers of these two events return replaces the parameters and the call.
    http = made._endpoint.http_session  # type: ignore[attr-defined]  # noqa: SLF001 (one pool of connections for all)
    for operation, member in (("BatchExecuteStatement", "Statements"), ("BatchGetItem", "RequestItems")):
        set_aside: Any = partial(_set_aside, member)
        send: Any = partial(_send, http, operation)
        events.register(f"provide-client-params.dynamodb.{operation}", set_aside)
        events.register(f"before-call.dynamodb.{operation}", send)
    return made


def _set_aside(member: str, params: dict[str, Any], context: dict[str, Any], **_: object) -> dict[str, Any]:
    """Hide the items of an import's batch from botocore, which would visit every value of every row."""
    context["set_aside"] = {member: params[member]}
    return {**params, member: type(params[member])()}


def _send(
    http: URLLib3Session,
    operation: str,
    params: dict[str, Any],
    context: dict[str, Any],
    request_signer: RequestSigner,
    **_: object,
) -> tuple[AWSResponse, dict[str, Any]] | None:
    """Send a batch as JSON, a form it already has, with only a signature added.

    The rest of what botocore does for a call (checksum, parser, other events) took an eighth of the worker's time. If
    the batch does not succeed at once, botocore sends it again and reports what is wrong. This may send a batch twice,
    which is safe because it reads, or its inserts are conditional.

    botocore's own handlers use the same two events. If the second one disappears, a batch is empty, and DynamoDB
    refuses it.
    """
    # Imported late, because most functions do not need it. It writes JSON in less than half the time of Python's own.
    from pydantic_core import to_json  # noqa: PLC0415

    params["body"] = to_json({**json.loads(params["body"]), **context["set_aside"]})
    request = create_request_object(params)
    request_signer.sign(operation, request)
    try:
        answer = http.send(request.prepare())
    except (ConnectionError, HTTPClientError):
        return None
    if answer.status_code != 200:  # noqa: PLR2004
        return None
    try:
        return answer, json.loads(answer.content)
    except ValueError:
        # The response was cut off.
        return None


def _read_items(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Parse an item, or those of a page, as JSON. Except for binary values, the result is what botocore returns.

    botocore would parse each value by its type, which takes five times as long. The event is undocumented: if it
    disappears, botocore parses the items.
    """
    if response_dict["status_code"] == 200:  # noqa: PLR2004
        page = json.loads(response_dict["body"])
        for member in ("Item", "Items"):
            if member in page:
                customized_response_dict[member] = page.pop(member)
        response_dict["body"] = json.dumps(page).encode()


def call[T](operation: Callable[[], T], *, repeatable: bool = True) -> T:
    """Call DynamoDB, and repeat the call, with pauses, while it fails for reasons that pass.

    The SDK's own repetitions are switched off, because they include writes whose response was lost. Such a write may
    have been applied, and a second one would overwrite what others have written since.

    Parameters
    ----------
    operation
        The call.
    repeatable
        Whether a second call changes nothing if the first was carried out. Other calls are repeated only if they were
        certainly not carried out.

    Raises
    ------
    StoreUnavailableError
        The call was not carried out, or it is repeatable and has failed three times.
    OutcomeUnknownError
        The call was not repeatable, and may have been carried out.
    """
    tries = 0
    while True:
        tries += 1
        try:
            return operation()
        except (ClientError, ConnectionError, HTTPClientError) as error:
            if not _is_refusal(error):
                if not _passes(error):
                    raise
                if not repeatable:
                    raise OutcomeUnknownError from error
            if tries == _TRIES:
                raise StoreUnavailableError from error
        time.sleep(random.uniform(0, _FIRST_PAUSE * 2 ** (tries - 1)))  # noqa: S311 (jitter)


def _is_refusal(error: Exception) -> bool:
    """Whether a call was certainly not carried out but may succeed later."""
    if not isinstance(error, ClientError):
        return isinstance(error, (ConnectTimeoutError, EndpointConnectionError))
    if error.response["Error"]["Code"] in _REFUSALS:
        return True
    reasons = error.response.get("CancellationReasons", [])
    return any(reason.get("Code") in _CANCELLED_FOR_NOW for reason in reasons)


def _passes(error: Exception) -> bool:
    """Whether a call, carried out or not, failed for a temporary reason: a server error or a broken connection."""
    return not isinstance(error, ClientError) or error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500  # noqa: PLR2004
