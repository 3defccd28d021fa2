"""A place between a client and the network, where a test may see requests, lose them or answer them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.awsrequest import AWSPreparedRequest
    from mypy_boto3_dynamodb import DynamoDBClient


def before_sending(client: DynamoDBClient, hook: Callable[[AWSPreparedRequest], AWSResponse | None]) -> None:
    """Show each request of a client to a hook, which may raise an error, or answer it instead of the network."""
    http = client._endpoint.http_session  # type: ignore[attr-defined]  # noqa: SLF001
    send = http.send

    def hooked(request: AWSPreparedRequest) -> AWSResponse | None:
        answer = hook(request)
        return send(request) if answer is None else answer

    http.send = hooked


@contextmanager
def sent_through(client: DynamoDBClient, hook: Callable[[AWSPreparedRequest], AWSResponse | None]) -> Iterator[None]:
    """Show each request of a client to a hook, as `before_sending`, while the block runs."""
    http = client._endpoint.http_session  # type: ignore[attr-defined]  # noqa: SLF001
    # Not pytest's patches: they leave a bound method behind, which hides what another test makes of the class's.
    with patch.object(http, "send", http.send):
        before_sending(client, hook)
        yield


def target_of(request: AWSPreparedRequest) -> str:
    """Return the service and operation that a request is for, such as DynamoDB_20120810.PutItem; S3's only say POST."""
    target: Any = request.headers.get("X-Amz-Target") or request.method
    return target.decode() if isinstance(target, bytes) else str(target)


def dynamodb_call(request: AWSPreparedRequest) -> tuple[str, dict[str, Any]] | None:
    """Return the operation and the parameters that a request asks DynamoDB for; None if it is for another service."""
    service, _, operation = target_of(request).partition(".")
    body: Any = request.body
    return (operation, json.loads(body)) if service.startswith("DynamoDB_") else None


def admitting(
    client: DynamoDBClient, admits: Callable[[int], bool]
) -> Callable[[AWSPreparedRequest], AWSResponse | None]:
    """Return a hook that throttles each statement of a batch unless its place in it is admitted.

    The given client, not the one with the hook, makes those that are.
    """

    def answer(request: AWSPreparedRequest) -> AWSResponse | None:
        operation, parameters = dynamodb_call(request) or ("", {})
        if operation != "BatchExecuteStatement":
            return None
        responses: list[Any] = [{"Error": {"Code": "ThrottlingError"}} for _ in parameters["Statements"]]
        chosen = [place for place in range(len(responses)) if admits(place)]
        statements = [parameters["Statements"][place] for place in chosen]
        done = client.batch_execute_statement(Statements=statements)["Responses"] if statements else []
        for place, response in zip(chosen, done, strict=True):
            responses[place] = response
        return answer_to(request, json.dumps({"Responses": responses}).encode())

    return answer


class _Body:
    """A response's body, as botocore reads it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self) -> Iterator[bytes]:
        yield self._data


def answer_to(request: AWSPreparedRequest, body: bytes, status: int = 200) -> AWSResponse:
    """Make DynamoDB's answer to a request."""
    headers = HTTPHeaders()
    headers["Content-Type"] = "application/x-amz-json-1.0"
    return AWSResponse(request.url, status, headers, _Body(body))


def error_answer(
    code: str, status: int = 400, message: str = "for a test", **members: object
) -> Callable[[AWSPreparedRequest], AWSResponse]:
    """Return a hook that gives DynamoDB's answer that a request failed."""
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, **members}
    return lambda request: answer_to(request, json.dumps(body).encode(), status)
