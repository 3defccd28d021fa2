"""The record of an import only moves forward: a slower planner does no harm."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from customers.imports.bucket import FileDelivery
from customers.imports.files.rows import Break, Layout, Position
from customers.imports.store import Counts, ImportStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from customers.imports.store import Import

LAYOUT = Layout("json_lines")


def at(row: int) -> Position:
    return Position(LAYOUT, row * 10, row, packed=False)


def upload(key: str, sequencer: str) -> FileDelivery:
    return FileDelivery("bucket", key, f"etag of {sequencer}", "2026-01-01T00:00:00.000Z", sequencer)


@pytest.fixture(scope="module")
def store(dynamodb: DynamoDBClient) -> ImportStore:
    return ImportStore(dynamodb, "ImportsTable")


@pytest.fixture
def known(store: ImportStore) -> Import:
    """Return an import that two planners have just begun."""
    return store.begin(uuid4().hex, {"bucket": "b", "key": "imports/k"})


def test_a_slower_planner_does_not_set_the_position_back(store: ImportStore, known: Import) -> None:
    store.keep_position(known, at(50), 5)
    store.keep_position(known, at(30), 3)
    kept = store.get(known.import_id)
    assert (kept.position, kept.sent) == (at(50), 5)
    store.keep_position(known, at(60), 6)
    assert store.get(known.import_id).sent == 6


def test_a_plan_that_is_made_is_not_made_anew_by_a_slower_planner(store: ImportStore, known: Import) -> None:
    store.plan(known, 7, None)
    store.plan(known, 5, Break(51, "gone", "The file was deleted."))
    store.keep_position(known, at(90), 9)
    kept = store.get(known.import_id)
    assert (kept.planned, kept.broken, kept.position) == (7, None, None)


def test_the_import_of_the_latest_upload_of_a_key_is_found(store: ImportStore) -> None:
    key = f"imports/{uuid4()}.csv"
    assert store.latest("bucket", key) is None
    for sequencer in ("0055", "0055AE", "0055B"):
        store.keep_latest(upload(key, sequencer))
        assert store.latest("bucket", key) == (upload(key, sequencer).import_id, f"etag of {sequencer}")
    assert store.latest("other", key) is None
    assert upload(key, "0055B").import_id not in {one.import_id for one in store.all()}


def test_an_upload_whose_event_comes_late_or_again_is_not_the_latest(store: ImportStore) -> None:
    key = f"imports/{uuid4()}.csv"
    for sequencer in ("0055B", "0055AE", "0055", "0055B", "0055AE"):
        store.keep_latest(upload(key, sequencer))
        assert store.latest("bucket", key) == (upload(key, "0055B").import_id, "etag of 0055B")


def test_all_that_is_kept_of_an_import_goes_after_30_days(
    store: ImportStore, known: Import, dynamodb: DynamoDBClient
) -> None:
    key = f"imports/{uuid4()}.csv"
    latest = upload(key, "0055")
    store.keep_latest(latest)
    store.book(known.import_id, 1, LAYOUT, Counts(rejected=1), "parts/1")
    items = [
        item
        for page in dynamodb.get_paginator("scan").paginate(TableName="ImportsTable")
        for item in page["Items"]
        if item["import_id"] == {"S": known.import_id} or item.get("latest") == {"S": latest.import_id}
    ]
    assert len(items) == 3
    for item in items:
        assert int(item["expires_at"]["N"]) - time.time() == pytest.approx(30 * 24 * 3600, abs=60)


def test_the_import_that_began_last_is_listed_first(store: ImportStore) -> None:
    begun = [store.begin(uuid4().hex, {"bucket": "b", "key": "imports/k"}) for _ in range(3)]
    wanted = sorted(begun, key=lambda one: one.started_at, reverse=True)
    ids = {one.import_id for one in begun}
    assert [one.started_at for one in store.all() if one.import_id in ids] == [one.started_at for one in wanted]
    assert len({one.started_at for one in begun}) > 1


def test_a_chunk_is_counted_once_whatever_two_runs_say_of_it(store: ImportStore, known: Import) -> None:
    store.book(known.import_id, 1, LAYOUT, Counts(created=3), None)
    store.book(known.import_id, 1, LAYOUT, Counts(already_there=3, rejected=2), "parts/other")
    kept = store.get(known.import_id)
    assert (kept.booked, kept.counts) == (1, Counts(created=3))
    assert list(store.parts(known.import_id)) == []


class ShortPages:
    """A client whose pages end after one item, as DynamoDB's pages do after a megabyte."""

    def __init__(self, client: DynamoDBClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def query(self, **arguments: Any) -> Any:
        return self._client.query(**arguments, Limit=1)


def test_the_rejected_rows_of_an_import_are_found_on_every_page_in_order(
    store: ImportStore, known: Import, dynamodb: DynamoDBClient
) -> None:
    for chunk in (3, 1, 2, 11):
        store.book(known.import_id, chunk, LAYOUT, Counts(rejected=1), None if chunk == 2 else f"parts/{chunk}")
    paged = ImportStore(ShortPages(dynamodb), "ImportsTable")  # type: ignore[arg-type]
    assert list(paged.parts(known.import_id)) == ["parts/1", "parts/3", "parts/11"]
