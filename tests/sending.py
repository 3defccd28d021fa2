"""A place between a client and the network, where a test may lose requests or answer them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
    from mypy_boto3_dynamodb import DynamoDBClient


def before_sending(client: DynamoDBClient, hook: Callable[[AWSPreparedRequest], AWSResponse | None]) -> None:
    """Show each request of a client to a hook, which may raise an error, or answer it instead of the network.

    Batches do not raise botocore's event `before-send`: the client sends them itself.
    """
    http = client._endpoint.http_session  # type: ignore[attr-defined]  # noqa: SLF001
    send = http.send

    def hooked(request: AWSPreparedRequest) -> AWSResponse | None:
        answer = hook(request)
        return send(request) if answer is None else answer

    http.send = hooked
