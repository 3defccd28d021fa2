"""What a template declares for events: buckets, queues, event buses, rules, and which function consumes what.

Ignored on purpose: what protects data in the cloud, such as queue and bucket policies, lifecycles and encryption.
Anything unsupported that would change which events arrive where is an error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from local.errors import TemplateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.template.document import Template

_QUEUE_ATTRIBUTES: Final = (
    "DelaySeconds",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds",
    "VisibilityTimeout",
)
_DEFAULT_VISIBILITY_TIMEOUT: Final = 30
_DEFAULT_BATCH_SIZE: Final = 10
_DEFAULT_STREAM_BATCH_SIZE: Final = 100
_MAX_PLAIN_BATCH_SIZE: Final = 10
"""Without a batching window."""


@dataclass(frozen=True, slots=True)
class Queue:
    """An SQS queue."""

    name: str
    arn: str
    url: str
    attributes: Mapping[str, str]
    """As SetQueueAttributes takes them, apart from the redrive policy."""
    redrive_policy: str | None
    """JSON."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """An S3 bucket."""

    logical_id: str
    name: str
    queue_notifications: tuple[Mapping[str, Any], ...]
    """As PutBucketNotificationConfiguration takes them."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of an event bus, with its targets that are queues."""

    name: str
    bus: str
    pattern: str
    """JSON."""
    targets: Mapping[str, str]
    """ARNs of queues by the targets' ids."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """A function that handles a queue's messages (AWS::Lambda::EventSourceMapping)."""

    function: str
    """Its logical id."""
    queue: Queue
    batch_size: int
    batching_window: float
    """Seconds to wait for a batch to fill."""
    partial_failures: bool
    """Whether the function reports which messages failed."""
    max_concurrency: int | None
    """None when the template sets no limit."""


@dataclass(frozen=True, slots=True)
class StreamConsumer:
    """A function that handles a table's changes (AWS::Lambda::EventSourceMapping)."""

    name: str
    """Its logical id."""
    function: str
    """The function's logical id."""
    function_arn: str
    table: str
    batch_size: int
    partial_failures: bool
    starting_position: str
    """Where it begins: `TRIM_HORIZON` or `LATEST`."""
    bisects: bool
    """Whether a batch that fails is retried in halves."""
    max_retries: int
    """-1 for no limit."""
    max_age: int
    """Seconds. -1 for no limit."""
    on_failure: Queue | None
    """Where messages go about records that could not be processed."""


@dataclass(frozen=True, slots=True)
class EventResources:
    """Everything that events pass through."""

    buckets: tuple[Bucket, ...]
    queues: tuple[Queue, ...]
    buses: tuple[str, ...]
    rules: tuple[Rule, ...]
    consumers: tuple[Consumer, ...]
    stream_consumers: tuple[StreamConsumer, ...]

    def __bool__(self) -> bool:
        """Whether there is anything that needs the services."""
        return bool(self.buckets or self.queues or self.buses or self.stream_consumers)


def read_event_resources(template: Template, timeouts: Mapping[str, float]) -> EventResources:
    """Read what a template declares for events.

    Parameters
    ----------
    template
        The template.
    timeouts
        Seconds of each function's Timeout, by logical id.

    Raises
    ------
    TemplateError
        If events would pass through something that the laptop cloud does not support.
    """
    queues = {
        template.arn(name): _queue(template, name, properties)
        for name, properties in template.resources("AWS::SQS::Queue").items()
    }
    for queue in queues.values():
        if queue.redrive_policy and json.loads(queue.redrive_policy).get("deadLetterTargetArn") not in queues:
            raise TemplateError(f"{queue.name}: its dead-letter queue is not in the template")
    streams = {template.stream_arn(name): name for name in template.resources("AWS::DynamoDB::Table")}
    functions = {key: function for function in timeouts for key in (function, template.arn(function))}
    consumers = []
    stream_consumers = []
    for name, properties in template.resources("AWS::Lambda::EventSourceMapping").items():
        function = functions.get(str(properties["FunctionName"]))
        source = str(properties.get("EventSourceArn"))
        if function is None or source not in queues.keys() | streams.keys():
            raise TemplateError(f"{name}: the laptop cloud supports queues, tables and functions of the template only")
        if "FilterCriteria" in properties:
            raise TemplateError(f"{name}: the laptop cloud does not support FilterCriteria")
        if source in streams:
            target = (function, template.arn(function), streams[source])
            consumer = _stream_consumer(name, properties, target, queues)
            stream_consumers.append(consumer)
        else:
            consumers.append(_consumer(name, properties, function, queues[source], timeouts[function]))
    return EventResources(
        buckets=tuple(
            _bucket(template, name, properties, queues)
            for name, properties in template.resources("AWS::S3::Bucket").items()
        ),
        queues=tuple(queues.values()),
        buses=tuple(template.resources("AWS::Events::EventBus")),
        rules=tuple(
            _rule(name, properties, queues) for name, properties in template.resources("AWS::Events::Rule").items()
        ),
        consumers=tuple(consumer for consumer in consumers if consumer is not None),
        stream_consumers=tuple(stream_consumers),
    )


def _queue(template: Template, name: str, properties: Mapping[str, Any]) -> Queue:
    if _is_true(properties.get("FifoQueue", False)):
        raise TemplateError(f"{name}: the laptop cloud supports standard queues only")
    policy = properties.get("RedrivePolicy")
    if policy is not None:
        # A template's parameter arrives as text.
        policy = {**policy, "maxReceiveCount": int(policy["maxReceiveCount"])}
    return Queue(
        name=template.name(name),
        arn=template.arn(name),
        url=template.queue_url(name),
        attributes={key: str(properties[key]) for key in _QUEUE_ATTRIBUTES if key in properties},
        redrive_policy=None if policy is None else json.dumps(policy),
    )


def _bucket(template: Template, name: str, properties: Mapping[str, Any], queues: Mapping[str, Queue]) -> Bucket:
    notifications = properties.get("NotificationConfiguration", {})
    if others := notifications.keys() - {"QueueConfigurations"}:
        raise TemplateError(f"{name}: the laptop cloud sends a bucket's events to queues only, not {', '.join(others)}")
    found = []
    for configuration in notifications.get("QueueConfigurations", []):
        if configuration["Queue"] not in queues:
            raise TemplateError(f"{name}: the queue {configuration['Queue']} is not in the template")
        wanted: dict[str, Any] = {"QueueArn": configuration["Queue"], "Events": [configuration["Event"]]}
        if rules := configuration.get("Filter", {}).get("S3Key", {}).get("Rules"):
            # S3 accepts the names in any case, but moto only in lower case.
            filters = [{"Name": str(rule["Name"]).lower(), "Value": str(rule["Value"])} for rule in rules]
            wanted["Filter"] = {"Key": {"FilterRules": filters}}
        found.append(wanted)
    return Bucket(name, template.name(name), tuple(found))


def _rule(name: str, properties: Mapping[str, Any], queues: Mapping[str, Queue]) -> Rule:
    if "EventPattern" not in properties:
        raise TemplateError(f"{name}: the laptop cloud supports rules with an EventPattern only")
    targets = {str(target["Id"]): str(target["Arn"]) for target in properties.get("Targets", [])}
    if functions := [arn for arn in targets.values() if ":lambda:" in arn]:
        raise TemplateError(f"{name}: the laptop cloud sends events to queues only, not to {functions[0]}")
    return Rule(
        name=name,
        bus=str(properties.get("EventBusName", "default")),
        pattern=json.dumps(properties["EventPattern"]),
        targets={key: arn for key, arn in targets.items() if arn in queues},
    )


def _consumer(name: str, properties: Mapping[str, Any], function: str, queue: Queue, timeout: float) -> Consumer | None:
    batch_size = int(properties.get("BatchSize", _DEFAULT_BATCH_SIZE))
    window = float(properties.get("MaximumBatchingWindowInSeconds", 0))
    # Lambda refuses the next two at deployment.
    if batch_size > _MAX_PLAIN_BATCH_SIZE and window < 1:
        raise TemplateError(f"{name}: a BatchSize over 10 needs a MaximumBatchingWindowInSeconds of at least 1")
    visibility = int(queue.attributes.get("VisibilityTimeout", _DEFAULT_VISIBILITY_TIMEOUT))
    if visibility < timeout:
        raise TemplateError(
            f"{name}: the VisibilityTimeout of {queue.name}, {visibility} s, is less than the Timeout of {function}"
        )
    if not _is_true(properties.get("Enabled", True)):
        return None
    limit = properties.get("ScalingConfig", {}).get("MaximumConcurrency")
    return Consumer(
        function=function,
        queue=queue,
        batch_size=batch_size,
        batching_window=window,
        partial_failures="ReportBatchItemFailures" in properties.get("FunctionResponseTypes", []),
        max_concurrency=None if limit is None else int(limit),
    )


def _stream_consumer(
    name: str, properties: Mapping[str, Any], target: tuple[str, str, str], queues: Mapping[str, Queue]
) -> StreamConsumer:
    function, function_arn, table = target
    # A batching window and parallel batches would change only the pace. These two would change what arrives.
    unknown = properties.keys() & {"TumblingWindowInSeconds", "Enabled"}
    destination = properties.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
    if unknown or destination not in {None, *queues}:
        raise TemplateError(f"{name}: {', '.join(unknown) or destination} of a stream is not supported")
    return StreamConsumer(
        name=name,
        function=function,
        function_arn=function_arn,
        table=table,
        batch_size=int(properties.get("BatchSize", _DEFAULT_STREAM_BATCH_SIZE)),
        partial_failures="ReportBatchItemFailures" in properties.get("FunctionResponseTypes", []),
        starting_position=str(properties["StartingPosition"]),
        bisects=_is_true(properties.get("BisectBatchOnFunctionError", False)),
        max_retries=int(properties.get("MaximumRetryAttempts", -1)),
        max_age=int(properties.get("MaximumRecordAgeInSeconds", -1)),
        on_failure=None if destination is None else queues[destination],
    )


def _is_true(value: object) -> bool:
    # A template's parameter arrives as text.
    return str(value).lower() == "true"
