"""The check of `make reliability ARGS=keys` accepts what is right, and finds each thing that is not."""

from __future__ import annotations

import pytest

from tools.benchmarks.reliability.keys import Change, Json, Sent, problems_of

BODY: Json = {"first_name": "a", "last_name": "Doe", "email": "a@example.com", "group_id": 1}
JOHN: Json = {**BODY, "id": 7, "external_id": "key-1", "version": 1}
JANE: Json = {**JOHN, "last_name": "b", "version": 2}
ANN: Json = {**JOHN, "first_name": "c", "email": "c@example.com", "version": 4}
SENT = [
    Sent("PUT", "key-1", BODY, 201, JOHN),
    Sent("PATCH", "key-1", {"last_name": "b"}, 200, JANE),
    Sent("DELETE", "key-1", {}, 200, {}),
    Sent("PUT", "key-1", {**BODY, "first_name": "c", "email": "c@example.com"}, None, {}),
    Sent("PUT", "key-2", {**BODY, "first_name": "d"}, 503, {}),
]
EVENTS = [Change("created", 1, JOHN), Change("updated", 2, JANE), Change("deleted", 3, JANE), Change("created", 4, ANN)]


def problems(events: list[Change], now: Json | None) -> list[str]:
    return list(problems_of(SENT, {7: events}, {} if now is None else {7: now}))


def test_a_history_without_a_fault_is_accepted() -> None:
    assert problems(EVENTS, ANN) == []


def test_a_write_of_unknown_outcome_may_not_have_been_applied() -> None:
    assert problems(EVENTS[:3], None) == []


@pytest.mark.parametrize(
    ("events", "now", "found"),
    [
        (EVENTS[:1] + EVENTS[2:], ANN, "deleted, after version 1"),
        ([*EVENTS[:2], *EVENTS[1:]], ANN, "updated, after version 2"),
        ([*EVENTS, Change("updated", 5, {**JANE, "version": 5})], {**JANE, "version": 5}, "nobody sent this"),
        ([*EVENTS[:3], Change("updated", 4, ANN)], ANN, "updated, after version 3 without"),
        (
            [*EVENTS[:2], Change("created", 3, {**ANN, "version": 3})],
            {**ANN, "version": 3},
            "created, after version 2 of",
        ),
        ([*EVENTS, Change("updated", 5, {**JOHN, "version": 5})], {**JOHN, "version": 5}, "applied 2 times"),
        (EVENTS[:1], JOHN, "acknowledged, but no event shows it"),
        (EVENTS, None, "another customer than the table"),
        ([Change("created", 1, {**JOHN, "external_id": "key-2"})], {**JOHN, "external_id": "key-2"}, "nobody sent"),
        ([], JOHN, "another customer than the table"),
    ],
)
def test_each_fault_is_found(events: list[Change], now: Json | None, found: str) -> None:
    assert any(found in problem for problem in problems(events, now)), problems(events, now)


def test_a_deletion_that_did_not_happen_or_that_nobody_asked_for_is_found() -> None:
    there = [change._replace(version=index) for index, change in enumerate(EVENTS[:2], 1)]
    assert "key-1: 1 deletions acknowledged, 0 in doubt, 0 events" in list(problems_of(SENT, {7: there}, {7: JANE}))
    others = [one for one in SENT if one.method != "DELETE"]
    assert "key-1: 0 deletions acknowledged, 0 in doubt, 1 events" in list(problems_of(others, {7: EVENTS}, {7: ANN}))


def test_two_customers_of_one_key_are_found() -> None:
    assert "2 customers of key-1" in list(problems_of(SENT, {7: EVENTS}, {7: ANN, 8: {**ANN, "id": 8}}))


def test_a_customer_without_an_event_is_found() -> None:
    assert "customer 7: no event" in list(problems_of([], {}, {7: JOHN}))
