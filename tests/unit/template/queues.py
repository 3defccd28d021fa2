"""Rules for queues and for the stream of changes: whatever fails comes again, and what keeps failing is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.conftest import ROOT
from tests.unit.template.reading import (
    DAY,
    HOUR,
    RUNBOOK,
    consumed,
    consumers,
    functions,
    resources,
    target,
    time_limit,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.template.reading import Rule, Template

_MOST_RETENTION: Final = 14 * DAY
"""https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""
_STREAM: Final = 24 * HOUR
"""How long DynamoDB keeps a change for its stream's consumers.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
"""
_LEAST_TRIES: Final = 5
"""With fewer, messages become dead letters only because Lambda had no room for them for a moment.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-queueconfig
"""
_WORDS: Final = {5: "five", 10: "ten"}


def queues(template: Template) -> dict[str, dict[str, object]]:
    return resources(template, "AWS::SQS::Queue")


def a_message_is_hidden_for_six_times_its_consumers_limit(template: Template) -> Iterator[str]:
    """Nobody else may get it while Lambda repeats its tries (AWS asks for at least six times the limit). But no longer:
    if a function died, its message waits that long for the next try.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-queueconfig
    """
    for function, source, kind, _ in consumers(template):
        if kind == "SQS":
            hidden = queues(template)[source].get("VisibilityTimeout", 30)
            if hidden != 6 * time_limit(template, function):
                yield f"{source}: hidden for {hidden} s, and {function} may take {time_limit(template, function)}"


def a_chunk_waits_as_long_for_its_next_try_as_the_runbook_says(template: Template) -> Iterator[str]:
    """A person who follows the runbook knows how long five failures take."""
    for source in ("ChunkQueue", "ImportQueue"):
        minutes = queues(template)[source].get("VisibilityTimeout", 30) / 60  # type: ignore[operator]
        if f"tries, {minutes:g} minutes" not in RUNBOOK:
            yield f"{source}: the runbook does not say {minutes:g} minutes"


def a_message_that_fails_is_tried_as_often_as_the_runbook_says(template: Template) -> Iterator[str]:
    """Often enough to survive a moment without room, and as often as operators expect."""
    for name in consumed(template) & queues(template).keys():
        policy = queues(template)[name].get("RedrivePolicy", {})
        tries = policy.get("maxReceiveCount", 0)  # type: ignore[attr-defined]
        if tries < _LEAST_TRIES or f"{_WORDS.get(tries)} tries" not in RUNBOOK:
            yield f"{name}: {tries} tries"


def a_message_that_keeps_failing_ends_in_a_queue_that_nothing_consumes(template: Template) -> Iterator[str]:
    """Nothing is thrown away, and nothing goes round for ever."""
    found = queues(template)
    for start in consumed(template) & found.keys():
        name, passed = start, set[str]()
        while name in consumed(template):
            passed.add(name)
            policy = found[name].get("RedrivePolicy", {})
            name = target(policy.get("deadLetterTargetArn")) or "nothing"  # type: ignore[attr-defined]
            if name not in found or name in passed:
                yield f"{start}: its dead letters go to {name}"
                break
    for name in found.keys() - consumed(template):
        if "RedrivePolicy" in found[name]:
            yield f"{name}: nobody receives its messages, so none of them ever moves on"


def a_message_is_kept_as_long_as_sqs_can(template: Template) -> Iterator[str]:
    """A dead letter's time counts from when it was first sent. A shorter time might end on the day it arrives.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
    """
    for name, properties in queues(template).items():
        if properties.get("MessageRetentionPeriod") != _MOST_RETENTION:
            yield f"{name}: kept for {properties.get('MessageRetentionPeriod')} s"


def a_message_that_fails_does_not_take_others_along(template: Template) -> Iterator[str]:
    """Without ReportBatchItemFailures, Lambda takes a report of failures for success, and deletes the message.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    for function, source, _, settings in consumers(template):
        code = (ROOT / functions(template)[function]["CodeUri"] / "app.py").read_text(encoding="utf-8")
        reports = "@consumer" in code or "batchItemFailures" in code
        if not reports or settings.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
            yield f"{function} is not asked which messages of {source} failed"


def a_message_has_all_the_time_of_its_function(template: Template) -> Iterator[str]:
    """A message may hold thousands of customers. A second one in the same run would get only the time that is left."""
    for function, source, kind, settings in consumers(template):
        if kind == "SQS" and settings.get("BatchSize") != 1:
            yield f"{function} takes {settings.get('BatchSize')} messages of {source} at once"


# The stream of changes.


def every_change_is_told_from_the_first_on(template: Template) -> Iterator[str]:
    """From the beginning of the stream, with the customer before and after the change (`Change.of_record`)."""
    for _, table, kind, settings in consumers(template):
        if kind == "DynamoDB":
            stream = resources(template, "AWS::DynamoDB::Table")[table].get("StreamSpecification", {})
            if stream.get("StreamViewType") != "NEW_AND_OLD_IMAGES":
                yield f"{table}: its changes lack an image"
            if settings.get("StartingPosition") != "TRIM_HORIZON":
                yield f"{table}: what changes before the consumer is there is not told"


def one_change_that_breaks_the_function_does_not_hold_up_the_others(template: Template) -> Iterator[str]:
    """If the function crashes, its batch is halved until the change that causes it is alone."""
    for function, _, kind, settings in consumers(template):
        if kind == "DynamoDB" and settings.get("BisectBatchOnFunctionError") is not True:
            yield f"{function} crashes on a whole batch"


def a_change_is_given_up_while_it_can_still_be_read(template: Template) -> Iterator[str]:
    """The alarm calls somebody before that. They then have as long again to read the change from the stream, as the
    runbook shows."""
    for function, _, kind, settings in consumers(template):
        if kind != "DynamoDB":
            continue
        age, attempts = settings.get("MaximumRecordAgeInSeconds", -1), settings.get("MaximumRetryAttempts", -1)
        if f"given up after {age / HOUR:g} hours" not in RUNBOOK:
            yield f"{function}: the runbook does not say {age / HOUR:g} hours"
        if attempts != -1:
            # However fast they fail, an outage may last for hours.
            yield f"{function}: changes are given up after {attempts} attempts"
        alarm = resources(template, "AWS::CloudWatch::Alarm")["LateEventsAlarm"]
        if not alarm["Threshold"] / 1000 < age <= _STREAM / 2:
            yield f"{function}: changes are given up after {age} s"
        kept = target(settings.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination"))
        if kept not in queues(template) or kept in consumed(template):
            yield f"{function}: what is given up goes to {kept}"
        elif settings["DestinationConfig"]["OnFailure"].get("Type") != "SQS":
            yield f"{function}: {kept} is a queue"


RULES: Final[tuple[Rule, ...]] = (
    a_message_is_hidden_for_six_times_its_consumers_limit,
    a_chunk_waits_as_long_for_its_next_try_as_the_runbook_says,
    a_message_that_fails_is_tried_as_often_as_the_runbook_says,
    a_message_that_keeps_failing_ends_in_a_queue_that_nothing_consumes,
    a_message_is_kept_as_long_as_sqs_can,
    a_message_that_fails_does_not_take_others_along,
    a_message_has_all_the_time_of_its_function,
    every_change_is_told_from_the_first_on,
    one_change_that_breaks_the_function_does_not_hold_up_the_others,
    a_change_is_given_up_while_it_can_still_be_read,
)
