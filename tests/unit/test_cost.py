"""The page on costs calculates correctly, and counts what is in the template."""

from __future__ import annotations

import ast
import operator
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from tests.conftest import ROOT
from tests.unit.template.alarms import alarms
from tests.unit.template.reading import consumed, read_template, resources

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE: Final = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
TEMPLATE: Final = read_template()
OPERATORS: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
}


class Row(NamedTuple):
    """A row of the table: the text that says how much, the price, and the resulting dollars."""

    name: str
    how_much: str
    price: str
    dollars: str

    def quantity(self) -> float:
        return value(self.how_much.rpartition("=")[2])


def value(text: str) -> float:
    """Calculate what a cell says. Units are words and are ignored: M × KB is GB, and prices are for M or GB."""
    symbols = re.findall(r"\d+(?:\.\d+)?|[+×()]", text)
    return _calculated(ast.parse(" ".join(symbols).replace("×", "*"), mode="eval").body)


def _calculated(node: ast.expr) -> float:
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](_calculated(node.left), _calculated(node.right))
    assert isinstance(node, ast.Constant)
    assert isinstance(node.value, int | float)
    return float(node.value)


def rows(page: str) -> dict[str, Row]:
    found = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| (\d+\.\d\d) \|$", page, re.MULTILINE)
    return {cells[0]: Row(*cells) for cells in found}


ROWS: Final = rows(PAGE)


def row(beginning: str) -> Row:
    (found,) = (each for each in ROWS.values() if each.name.startswith(beginning))
    return found


def total(page: str) -> str:
    (found,) = re.findall(r"^\| \*\*Sum\*\* \|.*\*\*(\d+\.\d\d)\*\* \|$", page, re.MULTILINE)
    return str(found)


def test_no_row_is_overlooked() -> None:
    table = PAGE.partition("| how much |")[2].partition("| **Sum**")[0]
    assert len(ROWS) == table.count("\n| ") - 1 >= 20


@pytest.mark.parametrize("name", ROWS)
def test_how_much_is_what_its_parts_come_to(name: str) -> None:
    parts, equals, _ = ROWS[name].how_much.partition("=")
    assert not equals or value(parts) == pytest.approx(ROWS[name].quantity(), rel=0.001)


@pytest.mark.parametrize("name", ROWS)
def test_how_much_times_the_price_is_the_amount(name: str) -> None:
    # Half a cent, for rounding.
    assert ROWS[name].quantity() * value(ROWS[name].price) == pytest.approx(float(ROWS[name].dollars), abs=0.00501)


def test_the_sum_is_the_sum_of_the_rows() -> None:
    assert round(sum(float(row.dollars) for row in ROWS.values()), 2) == float(total(PAGE))


def test_the_readme_says_the_same() -> None:
    (said,) = re.findall(r"\$(\d+) a month for (\d+) million calls", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert said == (f"{float(total(PAGE)):.0f}", f"{row('API Gateway: calls').quantity():.0f}")


def test_what_was_cut_is_what_the_month_costs_less() -> None:
    (before,) = re.findall(r"came to \$(\d+\.\d\d) before", PAGE)
    cut = re.findall(r"^\| [^|]+ \| (\d+\.\d\d) \| [^|]+ \|$", PAGE, re.MULTILINE)
    assert len(cut) == 5
    assert round(float(before) - sum(map(float, cut)), 2) == float(total(PAGE))


@pytest.mark.parametrize(
    "wrong", [("11 M |", "12 M |"), ("| 38.50 |", "| 38.60 |"), ("9 M × 0.6 KB +", "8 M × 0.6 KB +")]
)
def test_a_wrong_figure_is_found(wrong: tuple[str, str]) -> None:
    changed = rows(PAGE.replace(*wrong))
    assert changed != ROWS
    wrongs = [
        each
        for each in changed.values()
        if abs(each.quantity() * value(each.price) - float(each.dollars)) > 0.00501
        or abs(value(each.how_much.partition("=")[0]) - each.quantity()) > 0.001 * each.quantity()
    ]
    assert wrongs


def watched(*, history: bool) -> int:
    """Return how many metrics the alarms watch. Each is billed."""
    return sum(
        len([part for part in alarm.get("Metrics", []) if "MetricStat" in part]) or 1
        for name, alarm in alarms(TEMPLATE).items()
        if (TEMPLATE["Resources"][name].get("Condition") == "HasHistory") == history
    )


def test_the_alarms_metrics_are_those_of_the_template() -> None:
    assert row("Alarms: metrics").quantity() == watched(history=False)
    assert row("History: alarms").quantity() == watched(history=True)
    throttled = [
        part
        for name, alarm in alarms(TEMPLATE).items()
        if name.endswith("ThrottlesAlarm") and "Condition" not in TEMPLATE["Resources"][name]
        for part in alarm.get("Metrics", [])
        if part.get("MetricStat", {}).get("Metric", {}).get("Namespace") == "AWS/DynamoDB"
    ]
    # The page includes the four of the history.
    assert f"{len(throttled) + 4} metrics, ${(len(throttled) + 4) / 10:.2f}" in PAGE


def test_the_dashboards_are_those_of_the_template() -> None:
    assert row("Dashboard").quantity() == len(resources(TEMPLATE, "AWS::CloudWatch::Dashboard"))


def test_the_metrics_are_those_that_the_dashboard_shows() -> None:
    # All metrics are shown, and all that are shown are made (tests/integration/test_operations.py).
    (dashboard,) = resources(TEMPLATE, "AWS::CloudWatch::Dashboard").values()
    shown = set(re.findall(r'\["\$\{AWS::StackName\}", "(\w+)"', dashboard["DashboardBody"]["Fn::Sub"][0]))
    constant, rare = map(int, re.findall(r"\d+", row("Metrics").how_much)[:2])
    assert constant + rare == len(shown)


def test_the_indexes_are_those_of_the_template() -> None:
    indexes = resources(TEMPLATE, "AWS::DynamoDB::Table")["CustomersTable"]["GlobalSecondaryIndexes"]
    words = {6: "six", 7: "seven", 8: "eight"}
    assert f"the {words[len(indexes)]} indexes" in row("DynamoDB: customers").name
    # One unit for the customer, one for each index, three for the kept response, one more for another sort text.
    units = [int(each) for each in re.findall(r"× (\d+)", row("DynamoDB: creates").how_much)]
    assert units == [1 + len(indexes) + 3, 1 + len(indexes) + 1, 1 + len(indexes)]


def test_the_queues_that_are_polled_are_those_of_the_template() -> None:
    assert int(row("SQS").how_much.split()[0]) == len(
        consumed(TEMPLATE) & resources(TEMPLATE, "AWS::SQS::Queue").keys()
    )


def test_the_page_has_the_size_of_a_line_of_the_access_log() -> None:
    (api,) = resources(TEMPLATE, "AWS::Serverless::Api").values()
    line: str = api["AccessLogSetting"]["Format"]
    typical: dict[str, Any] = {
        "requestId": "73970d4f-da43-41c3-8b04-9e0b520c3cd0",
        "httpMethod": "GET",
        "resourcePath": "/api/customers/{customer_id}",
        "status": 200,
        "error.responseType": "-",
        "authorizer.token_id": "051c6b192a26c7b3",
        "responseLatency": 25,
        "integrationLatency": 18,
    }
    for name, example in typical.items():
        line = line.replace(f'"$context.{name}"', f'"{example}"')
    assert "$" not in line
    assert f"+ {len(line) / 1000:.2f} KB)" in row("Logs").how_much


def test_lambda_writes_no_line_for_a_call_that_succeeds() -> None:
    logging = TEMPLATE["Globals"]["Function"]["LoggingConfig"]
    assert logging["SystemLogLevel"] == {"Fn::If": ["LogsEverything", "INFO", "WARN"]}
    assert TEMPLATE["Conditions"]["LogsEverything"] == {"Fn::Equals": [{"Ref": "LogLevel"}, "DEBUG"]}
    assert TEMPLATE["Parameters"]["LogLevel"]["Default"] != "DEBUG"
