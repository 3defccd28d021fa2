"""The functions that take events in this process, on a real engine and moto's S3, SQS and EventBridge."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

import boto3

from tests.sending import target_of
from tools.modules import module_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.awsrequest import AWSPreparedRequest, AWSResponse

    from local.template.stack import Stack

REGION = "us-east-1"
BUCKET = "importbucket"
_CONSUMERS = {
    "PlanQueue": ("PlanImport", "PlanDeadLetters"),
    "ChunkQueue": ("ImportCustomers", "ChunkDeadLetters"),
    "ImportQueue": ("ImportCustomers", "ImportDeadLetters"),
    "PlanDeadLetters": ("CloseImport", "LostMessages"),
    "ChunkDeadLetters": ("CloseImport", "LostMessages"),
}
_MAX_RECEIVE_COUNT = 5


class KilledError(BaseException):
    """Stands for the end of the process: nothing catches it."""


class Fault(NamedTuple):
    """At which call of a function it ends, and whether before or after the call has taken place."""

    call: int
    when: str


class Context:
    """Lambda's context."""

    def __init__(self, milliseconds: int) -> None:
        self._milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self._milliseconds


class Message(NamedTuple):
    """A message on its way."""

    queue: str
    message_id: str
    body: str
    receive_count: int = 1
    sent_at: int = 0
    """Milliseconds since the epoch."""

    def event(self) -> dict[str, Any]:
        return {
            "Records": [
                {
                    "messageId": self.message_id,
                    "receiptHandle": "handle",
                    "body": self.body,
                    "attributes": {
                        "ApproximateReceiveCount": str(self.receive_count),
                        "SentTimestamp": str(self.sent_at),
                    },
                    "messageAttributes": {},
                    "eventSource": "aws:sqs",
                    "eventSourceARN": f"arn:aws:sqs:{REGION}:123456789012:{self.queue}",
                    "awsRegion": REGION,
                }
            ]
        }


class ImportCloud:
    """Buckets, queues, bus and functions, wired as the template says.

    Parameters
    ----------
    engine, server
        URLs of the engine and of the server for everything else.
    stack
        The stack whose tables are in the engine.
    function_endpoints
        The functions' endpoint variables, if they are to reach the services in another way.
    """

    def __init__(
        self, engine: str, server: str, stack: Stack, function_endpoints: dict[str, str] | None = None
    ) -> None:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": REGION}
        self.s3 = boto3.client("s3", endpoint_url=server, **keys)  # type: ignore[call-overload]
        self.sqs = boto3.client("sqs", endpoint_url=server, **keys)  # type: ignore[call-overload]
        self.bus = boto3.client("events", endpoint_url=server, **keys)  # type: ignore[call-overload]
        self.dynamodb = boto3.client("dynamodb", endpoint_url=engine, **keys)  # type: ignore[call-overload]
        self.milliseconds = 900_000
        self._urls = {
            name: self.sqs.create_queue(QueueName=name)["QueueUrl"]
            for name in (*_CONSUMERS, "ImportDeadLetters", "LostMessages", "Events")
        }
        self.s3.create_bucket(Bucket=BUCKET)
        self.s3.put_bucket_notification_configuration(
            Bucket=BUCKET,
            NotificationConfiguration={
                "QueueConfigurations": [
                    {
                        "QueueArn": f"arn:aws:sqs:{REGION}:123456789012:PlanQueue",
                        "Events": ["s3:ObjectCreated:*"],
                        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "imports/"}]}},
                    }
                ]
            },
        )
        self.bus.create_event_bus(Name="EventBus")
        self.bus.put_rule(
            Name="all", EventBusName="EventBus", EventPattern=json.dumps({"source": ["customers", "customers.imports"]})
        )
        target = {"Id": "1", "Arn": f"arn:aws:sqs:{REGION}:123456789012:Events"}
        self.bus.put_targets(Rule="all", EventBusName="EventBus", Targets=[target])
        endpoints = function_endpoints or {"AWS_ENDPOINT_URL": server, "AWS_ENDPOINT_URL_DYNAMODB": engine}
        names = ("PlanImport", "ImportCustomers", "CloseImport", "PublishChanges")
        self.apps = {name: _load(stack, name, endpoints, self._urls) for name in names}

    def put(self, key: str, data: bytes, metadata: dict[str, str] | None = None) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=data, Metadata=metadata or {})

    def send(self, body: str) -> str:
        return str(self.sqs.send_message(QueueUrl=self._urls["ImportQueue"], MessageBody=body)["MessageId"])

    def take(self, queue: str) -> Iterator[Message]:
        """Take all messages out of a queue."""
        while True:
            answer = self.sqs.receive_message(
                QueueUrl=self._urls[queue], MaxNumberOfMessages=10, MessageSystemAttributeNames=["SentTimestamp"]
            )
            for message in answer.get("Messages", []):
                self.sqs.delete_message(QueueUrl=self._urls[queue], ReceiptHandle=message["ReceiptHandle"])
                sent_at = int(message["Attributes"]["SentTimestamp"])
                yield Message(queue, message["MessageId"], message["Body"], sent_at=sent_at)
            if not answer.get("Messages"):
                return

    def invoke(self, message: Message, fault: Fault | None = None) -> tuple[bool, list[str]]:
        """Hand a message to its consumer. Return whether it is done, and the calls that it made to AWS."""
        app = self.apps[_CONSUMERS[message.queue][0]]
        calls: list[str] = []

        def watched(send: Callable[[AWSPreparedRequest], AWSResponse]) -> Callable[[AWSPreparedRequest], AWSResponse]:
            def watching(request: AWSPreparedRequest) -> AWSResponse:
                calls.append(target_of(request))
                if fault == (len(calls) - 1, "before"):
                    raise KilledError
                answer = send(request)
                if fault == (len(calls) - 1, "after"):
                    raise KilledError
                return answer

            return watching

        clients = [app.imports.dynamodb, app.imports.bucket._client, app.imports._bus]  # noqa: SLF001 (hooks)
        clients += [app.queues] if hasattr(app, "queues") else []
        with ExitStack() as stack:
            for http in (client._endpoint.http_session for client in clients):  # noqa: SLF001 (as in `sending`)
                stack.enter_context(patch.object(http, "send", watched(http.send)))
            try:
                answer = app.lambda_handler(message.event(), Context(self.milliseconds))
            except KilledError:
                return False, calls
        return not answer["batchItemFailures"], calls

    def run(self, *, twice: bool = False) -> None:
        """Hand out messages until none is left. With `twice`, hand out each of them two times."""
        busy = True
        while busy:
            busy = False
            for queue in _CONSUMERS:
                for message in self.take(queue):
                    busy = True
                    self.deliver(message)
                    if twice:
                        self.deliver(message)

    def deliver(self, message: Message) -> None:
        """Hand a message out until it is done or becomes a dead letter."""
        for count in range(1, _MAX_RECEIVE_COUNT + 1):
            if self.invoke(message._replace(receive_count=count))[0]:
                return
        self.sqs.send_message(QueueUrl=self._urls[_CONSUMERS[message.queue][1]], MessageBody=message.body)

    def events(self) -> list[dict[str, Any]]:
        """Take the events that were put on the bus."""
        return [json.loads(message.body) for message in self.take("Events")]

    def reports(self, folder: str) -> dict[str, bytes]:
        """Return the objects of a file's latest report, by the last part of their keys."""
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"reports/{folder}").get("Contents", [])
        reports: dict[str, dict[str, bytes]] = {}
        for place, name in (item["Key"].rsplit("/", 1) for item in listed):
            body = self.s3.get_object(Bucket=BUCKET, Key=f"{place}/{name}")["Body"].read()
            reports.setdefault(place, {})[name] = body
        return max(reports.values(), key=_started, default={})

    def summary(self, folder: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.reports(folder)["summary.json"])
        return value

    def group(self, group_id: int) -> list[dict[str, Any]]:
        pages = self.dynamodb.get_paginator("query").paginate(
            TableName="CustomersTable",
            IndexName="group-index",
            KeyConditionExpression="group_id = :group",
            ExpressionAttributeValues={":group": {"N": str(group_id)}},
        )
        return [item for page in pages for item in page["Items"]]


def _started(report: dict[str, bytes]) -> str:
    # If a report has no summary, its function died.
    return str(json.loads(report["summary.json"])["started_at"]) if "summary.json" in report else ""


def _load(stack: Stack, name: str, endpoints: dict[str, str], urls: dict[str, str]) -> Any:
    declared = stack.functions[name]
    own = {
        key: endpoints.get(key, endpoints["AWS_ENDPOINT_URL"])
        for key in declared.environment
        if key.startswith("AWS_ENDPOINT_URL")
    }
    keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test")
    with patch.dict(os.environ, {**declared.environment, **own, **keys, "AWS_DEFAULT_REGION": REGION}):
        module = module_at(declared.code / "app.py")
        if name == "PlanImport":
            module.CHUNK_QUEUE_URL, module.PLAN_QUEUE_URL = urls["ChunkQueue"], urls["PlanQueue"]  # type: ignore[attr-defined]
    return module
