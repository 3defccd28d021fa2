"""S3, SQS and EventBridge on the laptop: moto's server, which keeps everything in memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local.errors import LocalError
from local.services.server_process import HOST, ServerProcess, free_port
from local.template.document import REGION

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

    from local.template.event_resources import EventResources

_PROGRAM: Final = Path(__file__).with_name("aws_server.py")


class Services(ServerProcess):
    """The services, with the resources that a template declares. They start in the background.

    Parameters
    ----------
    log
        File for the server's output.
    events
        File for every event that is put on a bus, one JSON object per line.
    """

    def __init__(self, log: Path, events: Path) -> None:
        port = free_port()
        command = [sys.executable, "-I", str(_PROGRAM), HOST, str(port), str(events)]
        super().__init__("server of S3, SQS and EventBridge", command, port, log)
        # Placeholders that the server does not check.
        session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name=REGION)  # noqa: S106
        # A call fails at once when the server ends. The poller decides whether to try again.
        config = Config(connect_timeout=2, read_timeout=60, retries={"total_max_attempts": 1}, max_pool_connections=50)
        self.s3: S3Client = session.client("s3", endpoint_url=self.endpoint, config=config)
        self.sqs: SQSClient = session.client("sqs", endpoint_url=self.endpoint, config=config)
        self._events: EventBridgeClient = session.client("events", endpoint_url=self.endpoint, config=config)

    def declare(self, resources: EventResources) -> None:
        """Create what is missing, and give everything the template's properties.

        Raises
        ------
        LocalError
            If the server does not start, or refuses something.
        """
        self.wait_until_ready()
        try:
            self._declare_queues(resources)
            self._declare_buckets(resources)
            self._declare_buses(resources)
        except (BotoCoreError, ClientError) as error:
            raise LocalError(f"the {self._what} refuses what the template declares: {error}") from error

    def _declare_queues(self, resources: EventResources) -> None:
        existing = {url.rpartition("/")[2] for url in self.sqs.list_queues().get("QueueUrls", [])}
        for queue in resources.queues:
            if queue.name not in existing:
                self.sqs.create_queue(QueueName=queue.name)
        for queue in resources.queues:
            # The dead-letter queue has to exist first.
            redrive = {} if queue.redrive_policy is None else {"RedrivePolicy": queue.redrive_policy}
            if attributes := {**queue.attributes, **redrive}:
                self.sqs.set_queue_attributes(QueueUrl=queue.url, Attributes=attributes)  # type: ignore[arg-type]

    def _declare_buckets(self, resources: EventResources) -> None:
        existing = {bucket["Name"] for bucket in self.s3.list_buckets()["Buckets"]}
        for bucket in resources.buckets:
            if bucket.name not in existing:
                self.s3.create_bucket(Bucket=bucket.name)
            # Sends the test event, as S3 does whenever the configuration is put.
            self.s3.put_bucket_notification_configuration(
                Bucket=bucket.name,
                NotificationConfiguration={"QueueConfigurations": list(bucket.queue_notifications)},  # type: ignore[arg-type]
            )

    def _declare_buses(self, resources: EventResources) -> None:
        existing = {bus["Name"] for bus in self._events.list_event_buses()["EventBuses"]}
        for name in resources.buses:
            if name not in existing:
                self._events.create_event_bus(Name=name)
        for rule in resources.rules:
            self._events.put_rule(Name=rule.name, EventBusName=rule.bus, EventPattern=rule.pattern)
            targets = [{"Id": key, "Arn": arn} for key, arn in rule.targets.items()]
            if targets:
                self._events.put_targets(Rule=rule.name, EventBusName=rule.bus, Targets=targets)  # type: ignore[arg-type]
