"""The DynamoDB client, configured once, and which of its calls may be repeated."""

from __future__ import annotations

import json
import random
import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from botocore.awsrequest import AWSRequest
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

    from mypy_boto3_dynamodb import DynamoDBClient

_USER_AGENT: Final = "customers-api"
_CONFIG: Final = Config(
    # `call` repeats. Its three tries of at most three seconds, and the pauses between them, fit into the timeout of a
    # function behind the gateway (template.yaml), even if a read follows a write.
    connect_timeout=1,
    read_timeout=2,
    retries={"mode": "standard", "total_max_attempts": 1},
    # The model checks what is sent. A fixed user agent saves building one twice per call.
    parameter_validation=False,
    user_agent=_USER_AGENT,
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
    for method in ("batch_execute_statement", "batch_get_item"):
        send: Any = partial(_send_batch, made, method, getattr(made, method))
        setattr(made, method, send)
    return made


def _send_batch(
    client: Any,  # noqa: ANN401 (it has more than its type says)
    method: str,
    by_botocore: Callable[..., dict[str, Any]],
    **parameters: object,
) -> dict[str, Any]:
    """Send a batch as JSON, a form it already has, with only a signature added.

    What botocore does besides took the worker two fifths of its time: it looks at each value of each row. If the batch
    does not succeed at once, botocore sends it again and reports what is wrong. This may send a batch twice, which is
    safe because it reads, or its inserts are conditional.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html
    """
    # Imported late, because most functions do not need it. It writes JSON in less than half the time of Python's own.
    from pydantic_core import to_json  # noqa: PLC0415

    operation = client.meta.method_to_api_mapping[method]
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "User-Agent": _USER_AGENT,
        "X-Amz-Target": f"DynamoDB_20120810.{operation}",
    }
    request = AWSRequest("POST", f"{client.meta.endpoint_url}/", headers, to_json(parameters))
    # Of the client itself, so that there is one source of credentials and one pool of connections.
    client._request_signer.sign(operation, request)  # noqa: SLF001
    try:
        answer = client._endpoint.http_session.send(request.prepare())  # noqa: SLF001
        if answer.status_code == HTTPStatus.OK:
            found: dict[str, Any] = json.loads(answer.content)
            return found
    except (ConnectionError, HTTPClientError, ValueError):
        # Nothing came back, or a response that was cut off.
        pass
    return by_botocore(**parameters)


def _read_items(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Parse an item, or those of a page, as JSON. Except for binary values, the result is what botocore returns.

    botocore would parse each value by its type, which takes five times as long. The event is undocumented: if it
    disappears, botocore parses the items.
    """
    if response_dict["status_code"] == HTTPStatus.OK:
        page = json.loads(response_dict["body"])
        for member in ("Item", "Items"):
            if member in page:
                customized_response_dict[member] = page.pop(member)
        response_dict["body"] = json.dumps(page).encode()


def call[T](operation: Callable[[], T], *, repeatable: bool = True, creates: bool = False) -> T:
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
    creates
        Whether the caller's own repetition would do something else. Then it must know that a call that is repeatable
        here may have been carried out.

    Raises
    ------
    StoreUnavailableError
        The call was not carried out, or it is repeatable and has failed three times.
    OutcomeUnknownError
        The call may have been carried out, and is not repeatable or creates.
    """
    tries = 0
    in_doubt = False
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
                in_doubt = creates
            if tries == _TRIES:
                raise (OutcomeUnknownError if in_doubt else StoreUnavailableError) from error
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
    status = error.response["ResponseMetadata"]["HTTPStatusCode"] if isinstance(error, ClientError) else None
    return status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR
