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
    ConnectionClosedError,
    ConnectionError,  # noqa: A004 (botocore's name)
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
)

from customers.aws import session
from customers.errors import OutcomeUnknownError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.awsrequest import AWSPreparedRequest
    from mypy_boto3_dynamodb import DynamoDBClient

_USER_AGENT: Final = "customers-api"
_CONFIG: Final = Config(
    # `call` repeats. Its three tries of at most three seconds, and the pauses between them, fit into the timeout of a
    # function behind the gateway (template.yaml), even if a read follows a write.
    connect_timeout=1,
    read_timeout=2,
    # For a botocore that no longer calls `_send`.
    retries={"mode": "standard", "total_max_attempts": 1},
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
    """Return a configured client, whose calls are sent by `_send`."""
    made: DynamoDBClient = session.client("dynamodb", _CONFIG)
    # All methods and paginators lead there.
    made._make_api_call = partial(_send, made)  # type: ignore[attr-defined]  # noqa: SLF001
    return made


def _send(client: Any, operation: str, parameters: Mapping[str, object]) -> dict[str, Any]:  # noqa: ANN401
    return signed(client, operation, parameters)()


def signed(client: Any, operation: str, parameters: Mapping[str, object]) -> Callable[[], dict[str, Any]]:  # noqa: ANN401
    """Sign a call, and return what sends it, as often as necessary.

    It is sent as JSON, the form that it already has, and its response is returned as it is. botocore looks at each
    value of each item by its type, in both directions. Except for binary values, its result is the same. That takes a
    third of a call's processor time, and four fifths of a large page's.

    AWS accepts the signature for five minutes.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
    """
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "User-Agent": _USER_AGENT,
        "X-Amz-Target": f"DynamoDB_20120810.{operation}",
    }
    request = AWSRequest("POST", f"{client.meta.endpoint_url}/", headers, _json(operation, parameters))
    # Of the client itself, so that there is one source of credentials and one pool of connections.
    client._request_signer.sign(operation, request)  # noqa: SLF001
    return partial(_response, client, operation, request.prepare())


def _response(client: Any, operation: str, request: AWSPreparedRequest) -> dict[str, Any]:  # noqa: ANN401
    """Send a signed call, and return its response.

    Raises
    ------
    ClientError
        DynamoDB refuses the call, or fails. The response has the members of the error too.
    ConnectionError, HTTPClientError
        There is no response, or it broke off.
    """
    answer = client._endpoint.http_session.send(request)  # noqa: SLF001
    try:
        found: dict[str, Any] = json.loads(answer.content)
    except ValueError as error:
        if answer.status_code == HTTPStatus.OK:
            raise ConnectionClosedError(endpoint_url=client.meta.endpoint_url) from error
        found = {}
    if answer.status_code == HTTPStatus.OK:
        return found
    code = found.get("__type", str(answer.status_code)).rpartition("#")[2]
    response = {
        **found,
        "Error": {"Code": code, "Message": found.get("message", found.get("Message", ""))},
        "ResponseMetadata": {"HTTPStatusCode": answer.status_code},
    }
    raise client.exceptions.from_code(code)(response, operation)


def _json(operation: str, parameters: Mapping[str, object]) -> bytes:
    if operation != "BatchExecuteStatement":
        return json.dumps(parameters).encode()
    # The largest, of imports: it takes less than half the time. Imported late, because most functions do not need it.
    from pydantic_core import to_json  # noqa: PLC0415

    return to_json(parameters)


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
