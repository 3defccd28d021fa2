"""Rules for alarms: each watches something that exists, with a number that means something, as its description says."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.unit.template.reading import RUNBOOK, consumed, resources, target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.template.reading import Rule, Template


class _Metric(NamedTuple):
    """A metric of AWS."""

    statistic: str
    """The statistic that answers the alarm's question: how many in a period (Sum), or how bad at worst (Maximum)."""
    dimensions: dict[str, str]
    """The dimensions of the metric, and the type of resource that each names."""
    unit: float = 1
    """How many units a second has; 1 for a count."""


_API: Final = {"ApiName": "AWS::Serverless::Api", "Stage": "AWS::Serverless::Api"}
_FUNCTION: Final = {"FunctionName": "AWS::Serverless::Function"}
_TABLE: Final = {"TableName": "AWS::DynamoDB::Table"}
_QUEUE: Final = {"QueueName": "AWS::SQS::Queue"}
_OF_AWS: Final = {
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
    ("AWS/ApiGateway", "5XXError"): _Metric("Sum", _API),
    ("AWS/ApiGateway", "Latency"): _Metric("p99", _API, 1000),
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    # Without a dimension, it counts all functions in the account and region.
    ("AWS/Lambda", "Throttles"): _Metric("Sum", {}),
    ("AWS/Lambda", "IteratorAge"): _Metric("Maximum", _FUNCTION, 1000),
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
    ("AWS/DynamoDB", "ReadThrottleEvents"): _Metric("Sum", _TABLE),
    ("AWS/DynamoDB", "WriteThrottleEvents"): _Metric("Sum", _TABLE),
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): _Metric("Maximum", _QUEUE),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"): _Metric("Maximum", _QUEUE),
}
_AGES: Final = frozenset({"IteratorAge", "ApproximateAgeOfOldestMessage"})
_NUMBERS: Final = {"an": 1, "five": 5, "ten": 10}
_TIME: Final = re.compile(r"(?:for|in|over) (an?|five|ten|[0-9]+) (second|minute|hour)s?")
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600}
_USUAL: Final = 300
"""Seconds within which an alarm is raised if its description names no time (docs/runbook.md)."""


_INDEX: Final = "GlobalSecondaryIndexName"
"""A table's metrics with this dimension are those of an index, which the table's own leave out."""


class _Watched(NamedTuple):
    """A metric that an alarm watches."""

    namespace: Any
    name: Any
    dimensions: dict[str, Any]
    statistic: Any
    period: Any


def alarms(template: Template) -> dict[str, dict[str, Any]]:
    return resources(template, "AWS::CloudWatch::Alarm")


def _watched(alarm: dict[str, Any]) -> list[_Watched]:
    """Return the metrics that an alarm watches: its own, or those that it adds up."""
    if "Metrics" not in alarm:
        statistic = alarm.get("Statistic", alarm.get("ExtendedStatistic"))
        return [_of(alarm, statistic, alarm.get("Period"))]
    parts = [part["MetricStat"] for part in alarm["Metrics"] if "MetricStat" in part]
    return [_of(part["Metric"], part.get("Stat"), part.get("Period")) for part in parts]


def _of(metric: dict[str, Any], statistic: Any, period: Any) -> _Watched:
    dimensions = {each.get("Name"): each.get("Value") for each in metric.get("Dimensions", [])}
    return _Watched(metric.get("Namespace"), metric.get("MetricName"), dimensions, statistic, period)


def _times(alarm: dict[str, Any]) -> list[int]:
    """Return the seconds that a description names."""
    found = _TIME.findall(alarm.get("AlarmDescription", ""))
    return [(_NUMBERS.get(number) or int(number)) * _SECONDS[unit] for number, unit in found]


def an_alarm_watches_what_exists(template: Template) -> Iterator[str]:
    """CloudWatch accepts any name, and an alarm on a metric that nobody writes stays silent for ever."""
    (api,) = resources(template, "AWS::Serverless::Api").values()
    made = {"ApiName": api["Name"], "Stage": api["StageName"]}
    filters = resources(template, "AWS::Logs::MetricFilter").values()
    own = {each["MetricName"] for metric_filter in filters for each in metric_filter["MetricTransformations"]}
    tables = resources(template, "AWS::DynamoDB::Table")
    indexes = {
        (name, index["IndexName"])
        for name, table in tables.items()
        for index in table.get("GlobalSecondaryIndexes", [])
    }
    for name, alarm in alarms(template).items():
        for metric in _watched(alarm):
            if metric.namespace == {"Ref": "AWS::StackName"} and metric.name in own and not metric.dimensions:
                continue
            known = _OF_AWS.get((str(metric.namespace), str(metric.name)))
            if _INDEX in metric.dimensions:
                index = (target(metric.dimensions.get("TableName")), metric.dimensions.pop(_INDEX))
                if index not in indexes:
                    yield f"{name}: there is no index {index}"
            if known is None or known.dimensions.keys() != metric.dimensions.keys():
                yield f"{name}: nobody writes {metric}"
                continue
            for dimension, kind in known.dimensions.items():
                value = metric.dimensions[dimension]
                if value != made.get(dimension, value) or (
                    dimension not in made and target(value) not in resources(template, kind)
                ):
                    yield f"{name}: there is no {dimension} {value}"
                if dimension == "QueueName" and value != {"Fn::GetAtt": [target(value), "QueueName"]}:
                    yield f"{name}: {value} is not the queue's name"


def an_alarm_asks_for_the_statistic_that_its_metric_has(template: Template) -> Iterator[str]:
    """An average of counts is always 1, and a sum of ages grows with the number of samples."""
    for name, alarm in alarms(template).items():
        for metric in _watched(alarm):
            known = _OF_AWS.get((str(metric.namespace), str(metric.name)), _Metric("Sum", {}))
            if metric.statistic != known.statistic:
                yield f"{name}: {metric.statistic} of {metric.name}"


def an_alarm_adds_up_counts_and_picks_the_worst_age(template: Template) -> Iterator[str]:
    """Several metrics are added up, and of several ages the oldest counts: only one value is compared."""
    for name, alarm in alarms(template).items():
        parts = alarm.get("Metrics", [])
        shown = [part.get("Expression") for part in parts if part.get("ReturnData") is not False]
        ids = {part.get("Id", "") for part in parts}
        wanted = "MAX(METRICS())" if {metric.name for metric in _watched(alarm)} <= _AGES else "SUM(METRICS())"
        if parts and shown != [wanted]:
            yield f"{name}: compares {shown}"
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataQuery.html
        if len(ids) != len(parts) or not all(re.fullmatch(r"[a-z]\w*", each, re.ASCII) for each in ids):
            yield f"{name}: CloudWatch refuses the ids {ids}"


def an_alarm_is_raised_above_what_its_description_says(template: Template) -> Iterator[str]:
    """The person on call reads the description: `More than 5 …`. Without a number, one is enough."""
    for name, alarm in alarms(template).items():
        text = alarm.get("AlarmDescription", "")
        watched = _watched(alarm)[0]
        known = _OF_AWS.get((str(watched.namespace), str(watched.name)), _Metric("Sum", {}))
        if watched.name in _AGES or known.statistic == "p99":
            said = _times(alarm)[0] * known.unit if _times(alarm) else None
        else:
            count = re.search(r"More than ([0-9]+)", text)
            said = int(count[1]) if count else 0
        if alarm.get("Threshold") != said:
            yield f"{name}: {alarm.get('Threshold')}, and its description says {said}"
        if ("One call in a hundred" in text) != (known.statistic == "p99"):
            yield f"{name}: its description does not say p99"
        if alarm.get("ComparisonOperator") != "GreaterThanThreshold":
            yield f"{name}: {alarm.get('ComparisonOperator')}"


def an_alarm_is_raised_after_the_time_that_its_description_says(template: Template) -> Iterator[str]:
    """The person on call knows how long the problem has lasted."""
    for name, alarm in alarms(template).items():
        periods = {metric.period for metric in _watched(alarm)}
        times = [] if _watched(alarm)[0].name == "ApproximateAgeOfOldestMessage" else _times(alarm)
        said = times[-1] if times else _USUAL
        if {period * alarm.get("EvaluationPeriods", 0) for period in periods} != {said}:
            yield f"{name}: {alarm.get('EvaluationPeriods')} times {periods}, and its description says {said} s"
        if "a minute" in alarm.get("AlarmDescription", "") and periods != {60}:
            yield f"{name}: its description counts by the minute"


def an_alarm_is_quiet_when_nothing_happens(template: Template) -> Iterator[str]:
    """Without calls there is no data, and a quiet night is not an alarm. A percentile of a few calls means nothing."""
    for name, alarm in alarms(template).items():
        if alarm.get("TreatMissingData") != "notBreaching":
            yield f"{name}: missing data is {alarm.get('TreatMissingData')}"
        if (alarm.get("EvaluateLowSampleCountPercentile") == "ignore") != ("ExtendedStatistic" in alarm):
            yield f"{name}: a few calls are {alarm.get('EvaluateLowSampleCountPercentile')}"


def an_alarm_calls_somebody_and_says_when_it_is_over(template: Template) -> Iterator[str]:
    """And the runbook explains it in the same words."""
    for name, alarm in alarms(template).items():
        if not alarm.get("AlarmActions") == alarm.get("OKActions") == [{"Ref": "AlarmTopic"}]:
            yield f"{name} goes to {alarm.get('AlarmActions')}, its end to {alarm.get('OKActions')}"
        said, _, anchor = alarm.get("AlarmDescription", "").partition(" See docs/runbook.md#")
        heading = f"## {anchor.replace('-', ' ').capitalize()}\n"
        words = " ".join(said.removesuffix(".").split()[:4])
        if heading not in RUNBOOK or f"*{words}" not in RUNBOOK.partition(heading)[2].partition("\n## ")[0]:
            yield f"{name}: the runbook says something else than {said}"


def an_alarm_leaves_none_out(template: Template) -> Iterator[str]:
    """Both kinds of calls to every table, and every queue that nothing consumes."""
    queues = resources(template, "AWS::SQS::Queue").keys()
    tables = resources(template, "AWS::DynamoDB::Table").keys() - {"HistoryTable"}
    dead = queues - consumed(template)
    needed = {
        "TableThrottlesAlarm": {
            (each, kind) for each in tables for kind in ("ReadThrottleEvents", "WriteThrottleEvents")
        },
        "DeadLettersAlarm": {(each, "ApproximateNumberOfMessagesVisible") for each in dead},
        "LateEventsAlarm": {("PublishChanges", "IteratorAge")},
        # An alarm that is always there cannot name what is not always there.
        "LateHistoryAlarm": {("KeepHistory", "IteratorAge")},
        "HistoryThrottlesAlarm": {
            (each, kind)
            for each in ("HistoryTable", "by-token")
            for kind in ("ReadThrottleEvents", "WriteThrottleEvents")
        },
    }
    for name, wanted in needed.items():
        watched = {
            (metric.dimensions.get(_INDEX) or target(value), metric.name)
            for metric in _watched(alarms(template)[name])
            for value in metric.dimensions.values()
        }
        if watched != wanted:
            yield f"{name}: {watched ^ wanted}"


def a_filter_counts_lines_that_the_access_log_has(template: Template) -> Iterator[str]:
    """It counts lines of the gateway's log by the type of the response, and the dashboard shows the count."""
    (dashboard,) = resources(template, "AWS::CloudWatch::Dashboard").values()
    (api,) = resources(template, "AWS::Serverless::Api").values()
    form = json.loads(api["AccessLogSetting"]["Format"])
    written = target(api["AccessLogSetting"]["DestinationArn"])
    types = {*api["GatewayResponses"], "AUTHORIZER_CONFIGURATION_ERROR"}
    for name, each in resources(template, "AWS::Logs::MetricFilter").items():
        named = dict(re.findall(r'\$\.(\w+) = "(\w+)"', each.get("FilterPattern", "")))
        fields = {form.get(field) for field in named}
        if fields != {"$context.error.responseType"} or not set(named.values()) <= types:
            yield f"{name}: no line is like {each.get('FilterPattern')}"
        if target(each.get("LogGroupName")) != written:
            yield f"{name}: the gateway writes no line there"
        for made in each["MetricTransformations"]:
            if made.get("MetricValue") != "1" or made.get("MetricNamespace") != {"Ref": "AWS::StackName"}:
                yield f"{name}: makes {made}"
            if f'"${{AWS::StackName}}", "{made.get("MetricName")}"' not in dashboard["DashboardBody"]["Fn::Sub"][0]:
                yield f"{name}: no graph shows {made}"


RULES: Final[tuple[Rule, ...]] = (
    an_alarm_watches_what_exists,
    an_alarm_asks_for_the_statistic_that_its_metric_has,
    an_alarm_adds_up_counts_and_picks_the_worst_age,
    an_alarm_is_raised_above_what_its_description_says,
    an_alarm_is_raised_after_the_time_that_its_description_says,
    an_alarm_is_quiet_when_nothing_happens,
    an_alarm_calls_somebody_and_says_when_it_is_over,
    an_alarm_leaves_none_out,
    a_filter_counts_lines_that_the_access_log_has,
)
