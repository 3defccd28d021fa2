"""The clients of S3, SQS and EventBridge; for DynamoDB see `dynamodb`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, overload

from botocore.config import Config

from customers.aws import session

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

_CONFIG: Final = Config(
    connect_timeout=2,
    read_timeout=20,
    retries={"mode": "standard", "total_max_attempts": 5},
    user_agent="customers-api",
    # A bucket on the laptop has no host name of its own.
    s3={"addressing_style": "path"},
)


@overload
def client(service: Literal["s3"]) -> S3Client: ...
@overload
def client(service: Literal["sqs"]) -> SQSClient: ...
@overload
def client(service: Literal["events"]) -> EventBridgeClient: ...
def client(service: str) -> Any:
    """Return a client, configured."""
    return session.client(service, _CONFIG)
