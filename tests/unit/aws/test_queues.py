"""A function that takes messages: each on its own. A failure is reported by its id and logged without its text."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from customers.aws.queues import consumer
from customers.logs import logger

PERSON = "Jane Secret <jane@secret.example>"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", stream)
    return stream


def event(*bodies: str) -> dict[str, Any]:
    records = [{"messageId": f"m{number}", "body": body} for number, body in enumerate(bodies)]
    return {"Records": [{**record, "attributes": {"ApproximateReceiveCount": "3"}} for record in records]}


@consumer
def handle(message: dict[str, Any], _context: object) -> None:
    match message["body"]:
        case "fails":
            raise ValueError(PERSON)
        case "fails for a reason":
            raise RuntimeError(PERSON) from KeyError(PERSON)


def test_what_fails_is_reported_and_the_others_go_on(log: io.StringIO) -> None:
    answer = handle(event("good", "fails", "good", "fails for a reason", "good"), None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}, {"itemIdentifier": "m3"}]}
    assert handle(event("good", "good"), None) == {"batchItemFailures": []}
    assert [json.loads(line)["message_id"] for line in log.getvalue().splitlines()] == ["m1", "m3"]


def test_a_failure_is_logged_by_its_kind_and_its_place_and_never_by_its_text(log: io.StringIO) -> None:
    handle(event("fails", "fails for a reason"), None)
    first, second = map(json.loads, log.getvalue().splitlines())
    assert (first["error"], first["receive_count"]) == ("ValueError", "3")
    assert (second["error"], second["cause"]) == ("RuntimeError", "KeyError")
    for line in (first, second):
        assert line["places"][-1].startswith("test_queues.py:")
        assert line["places"][-1].endswith(" handle")
    assert "ecret" not in log.getvalue()
    assert "Jane" not in log.getvalue()
