"""What the template says about watching the service agrees with the code and the runbook."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from local.template.document import Template
from local.template.stack import read_stack

ROOT = Path(__file__).parents[2]
SOURCE: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
STACK_NAME = {"Ref": "AWS::StackName"}
EVERY_OPTION = {
    "AlarmEmail": "someone@example.com",
    "CorsOrigins": "https://app.example.com",
    "CustomerManagedKey": "true",
    "DomainName": "api.example.com",
    "CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/c",
    "HostedZoneId": "Z1",
    "EventsWithPersonalData": "true",
    "HistoryDays": "0",
    "EventArchiveDays": "0",
    "AccessLogRole": "account",
}


def resources(kind: str) -> dict[str, dict[str, Any]]:
    found = {name: each["Properties"] for name, each in SOURCE["Resources"].items() if each["Type"] == kind}
    assert found
    return found


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub makes for a page's headings."""
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def metrics_of_the_stack() -> set[str]:
    """Return the names of metrics that the code and the access log make."""
    filters = resources("AWS::Logs::MetricFilter").values()
    made = {each["MetricName"] for metric_filter in filters for each in metric_filter["MetricTransformations"]}
    code = "".join(
        path.read_text(encoding="utf-8") for folder in ("functions", "layers") for path in (ROOT / folder).rglob("*.py")
    )
    made |= set(re.findall(r'"((?:[A-Z][a-z]+){1,3})"', code))
    return made | {f"{what}{how}" for what, hows in CAPITALIZED.items() for how in hows}


CAPITALIZED = {
    "Customers": ("Created", "Updated", "Deleted"),
    "Imports": ("Completed", "Failed"),
    "Rows": ("Created", "Updated", "Unchanged", "AlreadyThere", "Superseded", "Rejected"),
}
"""Names that the code puts together: `tests/api/test_logs.py` sees each of them."""


def counted_by_the_code() -> set[str]:
    """Return the names of metrics that the code makes. No other dimension tells them apart."""
    code = "".join(
        path.read_text(encoding="utf-8") for folder in ("functions", "layers") for path in (ROOT / folder).rglob("*.py")
    )
    # Metrics whose names the code puts together are passed as `values`.
    named = set(re.findall(r'\*\*count\(\{"(\w+)": ', code))
    assert len(re.findall(r"\*\*count\(", code)) == len(named) + 2
    return named | {f"{what}{how}" for what, hows in CAPITALIZED.items() for how in hows}


def test_every_alarm_goes_to_the_topic_and_says_where_the_runbook_tells_what_to_do() -> None:
    alarms = resources("AWS::CloudWatch::Alarm")
    there = anchors("docs/runbook.md")
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}], name
        (anchor,) = re.findall(r"docs/runbook\.md#([\w-]+)$", alarm["AlarmDescription"])
        assert anchor in there, name


def test_every_alarm_and_every_graph_of_the_stacks_own_metrics_has_something_that_makes_them() -> None:
    made = metrics_of_the_stack()
    own = [alarm for alarm in resources("AWS::CloudWatch::Alarm").values() if alarm.get("Namespace") == STACK_NAME]
    assert {alarm["MetricName"] for alarm in own} == {"AuthorizerErrors", "RefusedTokens", "Throttled"}
    assert {alarm["MetricName"] for alarm in own} <= made
    shown = {metric[1] for widget in widgets() for metric in widget.get("metrics", []) if metric[0] == "AWS::StackName"}
    assert len(shown) >= 10
    assert shown <= made
    # A metric that is not shown costs as much as one that is.
    assert counted_by_the_code() | {alarm["MetricName"] for alarm in own} == shown


def widgets(*, has_history: bool = True) -> list[dict[str, Any]]:
    (dashboard,) = resources("AWS::CloudWatch::Dashboard").values()
    body, of_history = dashboard["DashboardBody"]["Fn::Sub"]
    for name, (_, text, otherwise) in ((name, part["Fn::If"]) for name, part in of_history.items()):
        body = body.replace(f"${{{name}}}", text["Fn::Sub"] if has_history else otherwise)
    return [widget["properties"] for widget in json.loads(re.sub(r"\$\{([^}]+)\}", r"\1", body))["widgets"]]


@pytest.mark.parametrize("has_history", [True, False])
def test_the_dashboard_shows_every_alarm_and_function_that_is_there(*, has_history: bool) -> None:
    def there(kind: str) -> set[str]:
        return {name for name in resources(kind) if has_history or "Condition" not in SOURCE["Resources"][name]}

    shown = widgets(has_history=has_history)
    assert {alarm.removesuffix(".Arn") for one in shown for alarm in one.get("alarms", [])} == there(
        "AWS::CloudWatch::Alarm"
    )
    for metric in ("Errors", "ConcurrentExecutions", "Throttles"):
        (counted,) = [
            one["metrics"] for one in shown if ["AWS/Lambda", metric] in [m[:2] for m in one.get("metrics", [])]
        ]
        # A preflight calls nothing, and fails only if Lambda does.
        assert {one[3] for one in counted} == there("AWS::Serverless::Function") - {"Preflight"}


def test_the_dashboard_shows_what_the_customers_table_and_its_indexes_refuse() -> None:
    searches = [
        metric[0]["expression"]
        for widget in widgets()
        for metric in widget.get("metrics", [])
        if isinstance(metric[0], dict)
    ]
    # A table's metrics do not include those of its indexes.
    for dimensions in ("TableName", "GlobalSecondaryIndexName,TableName"):
        assert (
            f'SEARCH(\'{{AWS/DynamoDB,{dimensions}}} TableName="CustomersTable" '
            'MetricName=("ReadThrottleEvents" OR "WriteThrottleEvents")\', \'Sum\')'
        ) in searches


def test_every_function_is_watched_and_its_log_ends() -> None:
    functions = resources("AWS::Serverless::Function")
    groups = resources("AWS::Logs::LogGroup")
    alarms = resources("AWS::CloudWatch::Alarm")
    # Without a dimension, it counts every function of the account, including those that are not always there.
    throttles = alarms["FunctionThrottlesAlarm"]
    assert (throttles["Namespace"], throttles["MetricName"]) == ("AWS/Lambda", "Throttles")
    assert "Dimensions" not in throttles
    graphs = json.dumps(widgets())
    for name, function in functions.items():
        assert groups[function["LoggingConfig"]["LogGroup"]["Ref"]]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
        if "Condition" in SOURCE["Resources"][name]:
            # A graph cannot name what is not always there. Its failures show as the gateway's 5xx, or a late history.
            continue
        for metric in ("Errors", "Throttles", "ConcurrentExecutions"):
            assert f'"AWS/Lambda", "{metric}", "FunctionName", "{name}"' in graphs, name
        # Whether it has a route.
        serves = any(event["Type"] == "Api" for event in function.get("Events", {}).values())
        assert (f'"AWS/Lambda", "Duration", "FunctionName", "{name}"' in graphs) == serves, name


def metrics_of(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    return [metric["MetricStat"]["Metric"] for metric in alarm.get("Metrics", []) if "MetricStat" in metric]


def test_no_alarm_has_more_metrics_than_cloudwatch_takes() -> None:
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Create-alarm-on-metric-math-expression.html
    counts = {name: len(metrics_of(alarm)) for name, alarm in resources("AWS::CloudWatch::Alarm").items()}
    assert max(counts.values()) <= 10, counts


def test_every_table_and_every_index_is_watched_for_throttles() -> None:
    alarms = resources("AWS::CloudWatch::Alarm").values()
    watched = {
        (metric["MetricName"], *(str(dimension["Value"]) for dimension in metric["Dimensions"]))
        for alarm in alarms
        for metric in metrics_of(alarm)
        if metric["Namespace"] == "AWS/DynamoDB"
    }
    expected = {
        (f"{kind}ThrottleEvents", str({"Ref": name}), *index)
        for kind in ("Read", "Write")
        for name, table in resources("AWS::DynamoDB::Table").items()
        for index in [(), *((each["IndexName"],) for each in table.get("GlobalSecondaryIndexes", []))]
    }
    assert len(expected) >= 20
    assert watched == expected


def test_every_queue_that_nothing_consumes_is_watched() -> None:
    events = [
        each
        for function in resources("AWS::Serverless::Function").values()
        for each in function.get("Events", {}).values()
    ]
    consumed = json.dumps([each["Properties"].get("Queue") for each in events])
    dead_letters = json.dumps(resources("AWS::CloudWatch::Alarm")["DeadLettersAlarm"])
    age = json.dumps(resources("AWS::CloudWatch::Alarm")["StuckImportsAlarm"])
    for name in resources("AWS::SQS::Queue"):
        watched = dead_letters if f'"{name}", "Arn"' not in consumed else age
        # What CloseImport consumes waits only for a moment, and what it cannot handle is a lost message.
        assert name in {"PlanDeadLetters", "ChunkDeadLetters"} or f'"{name}", "QueueName"' in watched, name


def test_the_access_log_holds_ids_and_figures_alone() -> None:
    (api,) = resources("AWS::Serverless::Api").values()
    form = api["AccessLogSetting"]["Format"]
    assert json.loads(form)
    assert set(re.findall(r"\$context\.[\w.]+", form)) == {
        "$context.requestId",
        "$context.httpMethod",
        "$context.resourcePath",
        "$context.status",
        "$context.error.responseType",
        "$context.authorizer.token_id",
        "$context.responseLatency",
        "$context.integrationLatency",
    }


def test_every_parameter_is_in_the_table_of_options() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert [name for name in SOURCE["Parameters"] if f"`{name}`" not in text] == []


@pytest.mark.parametrize("parameters", [{}, EVERY_OPTION])
def test_the_laptop_serves_the_template_with_and_without_its_options(parameters: dict[str, str]) -> None:
    template = Template(ROOT / "template.yaml", parameters, stack_id="x")
    stack = read_stack(template)
    assert ("Preflight" in stack.functions) == bool(parameters)
    assert ("DomainTarget" in stack.outputs) == bool(parameters)
    history = [name for name in (*stack.functions, *(table.name for table in stack.tables)) if "History" in name]
    assert history == ([] if parameters else ["GetHistory", "KeepHistory", "HistoryTable"])
    reads = {route.resource for route in stack.api.routes if route.method != "OPTIONS"}
    assert ("/api/customers/{customer_id}/history" in reads) == (not parameters)
    tables = template.resources("AWS::DynamoDB::Table")
    for properties in tables.values():
        assert properties["SSESpecification"]["SSEEnabled"] is True
        assert ("KMSMasterKeyId" in properties["SSESpecification"]) == bool(parameters)
