"""Metrics are members of log lines, in the form that CloudWatch reads."""

from __future__ import annotations

import io
import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from customers.logs import count, logger

if TYPE_CHECKING:
    import pytest

# The binding part of the specification's schema:
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
UNITS = {"Count"}


def logged(monkeypatch: pytest.MonkeyPatch, **members: Any) -> str:
    stream = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", stream)
    logger.info("a line", **members)
    return stream.getvalue()


def test_a_line_with_metrics_has_the_embedded_metric_format(monkeypatch: pytest.MonkeyPatch) -> None:
    before = time.time() * 1000
    text = logged(monkeypatch, request_id="r", **count({"RowsCreated": 3}))
    # One JSON object on one line.
    assert text.count("\n") == 1
    line = json.loads(text)
    assert before - 1 <= line["_aws"]["Timestamp"] <= time.time() * 1000
    assert isinstance(line["_aws"]["Timestamp"], int)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive.keys() == {"Namespace", "Dimensions", "Metrics"}
    assert 1 <= len(directive["Namespace"]) <= 1024
    for dimension_set in directive["Dimensions"]:
        assert len(dimension_set) <= 30
        assert all(isinstance(line[name], str) and 1 <= len(line[name]) <= 1024 for name in dimension_set)
    assert 1 <= len(directive["Metrics"]) <= 100
    for metric in directive["Metrics"]:
        assert metric["Unit"] in UNITS
        assert isinstance(line[metric["Name"]], int | float)
    assert (line["RowsCreated"], line["request_id"]) == (3, "r")


def test_counts_have_no_dimension(monkeypatch: pytest.MonkeyPatch) -> None:
    line = json.loads(logged(monkeypatch, **count({"RowsCreated": 3, "RowsRejected": 0})))
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [[]]
    assert [metric["Name"] for metric in directive["Metrics"]] == ["RowsCreated", "RowsRejected"]
    assert (line["RowsCreated"], line["RowsRejected"]) == (3, 0)


def test_lambda_can_read_the_level_and_the_time_of_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    # Otherwise Lambda takes every line for INFO: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
    line = json.loads(logged(monkeypatch))
    assert line["level"] == "INFO"
    said = line["timestamp"]
    assert "T" in said
    assert abs(datetime.fromisoformat(said).timestamp() - time.time()) < 5
