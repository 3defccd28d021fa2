"""A file or a message becomes customers, each row once, whatever fails and however often it is delivered."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import random
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from moto.s3.models import FakeKey

from customers.imports import chunks as chunks_module
from customers.imports.store import Counts
from customers.logs import logger
from customers.store import bulk
from customers.store.customers import CustomerStore
from customers.store.external_ids import ExternalIdStore
from customers.store.items import customer, now
from tests.author import TESTER
from tests.integration.import_cloud import BUCKET, Context, Fault, ImportCloud, Message
from tests.sending import admitting, sent_through, target_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.awsrequest import AWSPreparedRequest

pytestmark = pytest.mark.cloud


NAMES = ["first_name", "last_name", "email", "group_id", "age"]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "_ROWS", 50)


def _new_group() -> int:
    return random.randrange(1, 2**53)


def _wait_for_the_next_millisecond() -> None:
    # Of a row and another write of the same millisecond, the row is the later one.
    before = now()
    while now() == before:
        pass


def _rows(group_id: int, size: int) -> list[dict[str, Any]]:
    return [
        {
            "first_name": 'Jo "J"' if number % 7 else "José",
            "last_name": "two, words",
            "email": f"jo{number}@example.com",
            "group_id": group_id,
            "age": None if number % 3 == 0 else number % 150,
        }
        for number in range(size)
    ]


def _csv(rows: list[dict[str, Any]], delimiter: str = ",") -> bytes:
    text = io.StringIO()
    names = [*NAMES, *(["external_id"] if "external_id" in rows[0] else [])]
    writer = csv.DictWriter(text, names, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


FORMS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "csv": _csv,
    "semicolons": lambda rows: _csv(rows, ";"),
    "tabs": lambda rows: b"\xef\xbb\xbf" + _csv(rows, "\t"),
    "lines": lambda rows: "\n".join(json.dumps(row) for row in rows).encode(),
    "array": lambda rows: json.dumps(rows, indent=1).encode(),
    "object": lambda rows: json.dumps({"customers": rows}).encode(),
}


def _counts(summary: dict[str, Any]) -> tuple[int, int, int]:
    return summary["created"], summary["already_there"], summary["rejected"]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_every_form_becomes_the_same_customers(
    form: str,
    packed: bool,  # noqa: FBT001
    cloud: ImportCloud,
) -> None:
    group_id, name = _new_group(), f"{uuid4()} ü+%.txt"
    rows = _rows(group_id, 500)
    data = FORMS[form](rows)
    cloud.put(f"imports/folder/{name}", gzip.compress(data) if packed else data)
    cloud.run()
    found: list[Any] = [
        {name: value for name, value in customer(item).items() if name in NAMES} for item in cloud.group(group_id)
    ]
    assert sorted(found, key=lambda row: row["email"]) == sorted(rows, key=lambda row: row["email"])
    summary = cloud.summary(f"folder/{name}")
    assert (summary["status"], summary["rows"], *_counts(summary)) == ("completed", 500, 500, 0, 0)
    assert summary["source"] == {"bucket": BUCKET, "key": f"imports/folder/{name}"}
    assert summary["broken"] is summary["rejected_rows"] is None
    assert [event["detail-type"] for event in cloud.events()] == ["Import started", "Import completed"]


def test_the_columns_of_a_file_are_what_its_metadata_says(cloud: ImportCloud) -> None:
    group_id, name = _new_group(), str(uuid4())
    data = (
        _csv(_rows(group_id, 120)).replace(b"email,", b"Mail,Notes,", 1).replace(b"@example.com,", b"@example.com,x,")
    )
    cloud.put(f"imports/{name}", data, {"map": "Mail=email", "ignore": "Notes"})
    cloud.run()
    assert _counts(cloud.summary(name)) == (120, 0, 0)
    cloud.put(f"imports/{name}-wrong", data, {"map": "Mail=mail"})
    cloud.run()
    broken = cloud.summary(f"{name}-wrong")["broken"]
    assert (broken["row"], broken["code"]) == (1, "wrong_mapping")
    assert "'Mail=mail'" in broken["detail"]


def test_a_folder_made_in_the_console_is_no_file(cloud: ImportCloud) -> None:
    name = str(uuid4())
    cloud.put(f"imports/{name}/", b"")
    # Nobody makes a file with such a name, but if somebody does, its rows are not lost.
    cloud.put(f"imports/{name}-file/", b"x")
    cloud.run(twice=True)
    assert cloud.reports(f"{name}/") == {}
    assert [event["detail"]["source"]["key"] for event in cloud.events()] == [f"imports/{name}-file/"] * 2


def test_a_plan_looks_at_the_clock_by_bytes_and_goes_on_where_it_was(cloud: ImportCloud) -> None:
    group_id, name = _new_group(), str(uuid4())
    good = _csv(_rows(group_id, 2)).splitlines(keepends=True)
    cloud.put(f"imports/{name}", b"".join([*good[:2], b",,,,\r\n" * 2_000_000, *good[2:]]))
    cloud.milliseconds = 1000
    (plan,) = cloud.take("PlanQueue")
    offsets = []
    for _ in range(200):
        cloud.deliver(plan)
        known = cloud.apps["PlanImport"].imports.store.all()[0]
        if known.planned is not None:
            break
        assert known.position is not None
        offsets.append(known.position.offset)
        (plan,) = cloud.take("PlanQueue")
    assert offsets == sorted(set(offsets)), "each run gets further"
    assert len(offsets) > 5
    cloud.milliseconds = 900_000
    cloud.run()
    assert _counts(cloud.summary(name)) == (2, 0, 0)
    assert [event["detail-type"] for event in cloud.events()] == ["Import started", "Import completed"]


@pytest.mark.parametrize("form", ["csv", "semicolons", "lines", "array"])
def test_bad_rows_are_reported_as_a_file_that_can_be_mended_and_dropped_in_again(form: str, cloud: ImportCloud) -> None:
    group_id, name = _new_group(), str(uuid4())
    rows = _rows(group_id, 130)
    for number in range(0, 130, 10):
        rows[number] |= {"email": "no address", "first_name": ""}
    cloud.put(f"imports/{name}", FORMS[form](rows))
    cloud.run(twice=True)
    assert _counts(cloud.summary(name)) == (117, 0, 13)
    assert len(cloud.group(group_id)) == 117
    (report,) = (data for key, data in cloud.reports(name).items() if key.startswith("rejected"))
    assert report.count(b"email: Must be") == 13 or report.count(b'"invalid_email"') == 13
    key = cloud.summary(name)["rejected_rows"]
    kind = "text/csv" if key.endswith(".csv") else "application/jsonl"
    assert key.endswith(".jsonl") == (form in {"lines", "array"})
    assert cloud.s3.head_object(Bucket=BUCKET, Key=key)["ContentType"] == f"{kind}; charset=utf-8"
    addresses = iter(range(1000))
    mended = re.sub(rb"no address", lambda _: b"mended%d@example.com" % next(addresses), report)
    mended = mended.replace(b'"first_name": ""', b'"first_name": "Jo"').replace(b',,"two', b',Jo,"two')
    mended = mended.replace(b";;two", b";Jo;two")
    cloud.put(f"imports/{name}-mended", mended)
    cloud.run()
    assert _counts(cloud.summary(f"{name}-mended")) == (13, 0, 0)
    assert len(cloud.group(group_id)) == 130
    kinds = [event["detail-type"] for event in cloud.events()]
    assert set(kinds) == {"Import started", "Import completed"}


def test_the_same_rows_dropped_again_create_nothing_and_what_was_deleted_stays_deleted(cloud: ImportCloud) -> None:
    group_id, name = _new_group(), str(uuid4())
    rows = _rows(group_id, 70)
    cloud.put(f"imports/{name}", _csv([*rows, {"first_name": "only"}]))
    cloud.run()
    assert _counts(cloud.summary(name)) == (70, 0, 1)
    gone = cloud.group(group_id)[0]["id"]["N"]
    CustomerStore(cloud.dynamodb, "CustomersTable").delete(int(gone), None, TESTER)
    # The same rows under another name, compressed, in another order, and with one more.
    again = f"{uuid4()}.gz"
    cloud.put(f"imports/{again}", gzip.compress(FORMS["lines"]([*reversed(rows), _rows(group_id, 71)[70]])))
    cloud.run()
    assert _counts(cloud.summary(again)) == (1, 69, 1)
    assert b'"deleted"' in cloud.reports(again)["rejected.jsonl"]
    assert len(cloud.group(group_id)) == 70
    cloud.put(f"imports/{again}-2", FORMS["lines"](rows), {"restore-deleted": "true"})
    cloud.run()
    assert _counts(cloud.summary(f"{again}-2")) == (1, 69, 0)
    assert len(cloud.group(group_id)) == 71


def test_one_file_then_another_then_the_first_again_ends_with_the_first(cloud: ImportCloud) -> None:
    group_id, name, key = _new_group(), f"{uuid4()}.jsonl", str(uuid4())
    files = {word: json.dumps({**_rows(group_id, 1)[0], "external_id": key, "last_name": word}) for word in ("A", "B")}
    outcomes = []
    for word in ("A", "B", "A", "A"):
        cloud.put(f"imports/{name}", files[word].encode())
        cloud.run()
        summary = cloud.summary(name)
        outcomes.append([outcome for outcome in ("created", "updated", "unchanged") if summary[outcome]])
        assert [customer(item)["last_name"] for item in cloud.group(group_id)] == [word]
    assert outcomes == [["created"], ["updated"], ["updated"], ["unchanged"]]


def test_every_outcome_is_counted_and_the_counts_add_up(cloud: ImportCloud) -> None:
    group_id, key = _new_group(), str(uuid4())
    store = ExternalIdStore(cloud.dynamodb, "CustomersTable")
    row: Any = _rows(group_id, 1)[0]
    for name in ("same", "changed", "newer", "gone"):
        new: Any = {**row, "external_id": f"{key}-{name}"}
        store.put(f"{key}-{name}", new, versions=None, exists=None, author=TESTER)
    CustomerStore(cloud.dynamodb, "CustomersTable").delete(store.get(f"{key}-gone")["id"], None, TESTER)
    rows = [
        {**row, "external_id": f"{key}-same"},
        {**row, "external_id": f"{key}-changed", "last_name": "New"},
        {**row, "external_id": f"{key}-newer", "last_name": "Old"},
        {**row, "external_id": f"{key}-gone"},
        {**row, "external_id": f"{key}-new"},
        {**row, "external_id": f"{key}-new", "last_name": "Last"},
        {**row, "external_id": f"{key}-same", "version": 1},
        {**row, "external_id": f"{key}-changed", "last_name": "Newer", "version": 7},
        {**row, "id": "C-x"},
        {**row, "id": store.get(f"{key}-same")["id"], "external_id": f"{key}-changed"},
        row,
        row,
    ]
    name = f"{uuid4()}.jsonl"
    cloud.put(f"imports/{name}", FORMS["lines"](rows[2:6] + rows[8:]))
    _wait_for_the_next_millisecond()
    changed: Any = {**row, "external_id": f"{key}-newer", "last_name": "Newest"}
    store.put(f"{key}-newer", changed, versions=None, exists=None, author=TESTER)
    cloud.run()
    summary = cloud.summary(name)
    assert {name: summary[name] for name in Counts._fields} == {
        "created": 2, "updated": 0, "unchanged": 0, "already_there": 1, "superseded": 2, "rejected": 3,
    }  # fmt: skip
    codes = {
        json.loads(line)["import_errors"][0]["code"] for line in cloud.reports(name)["rejected.jsonl"].splitlines()
    }
    assert codes == {"deleted", "invalid_id", "external_id_mismatch"}
    cloud.put(f"imports/{name}-2", FORMS["lines"](rows[:2]))
    cloud.run()
    cloud.put(f"imports/{name}-3", FORMS["lines"](rows[6:8]))
    cloud.run()
    second, third = cloud.summary(f"{name}-2"), cloud.summary(f"{name}-3")
    assert (second["unchanged"], second["updated"], second["rows"]) == (1, 1, 2)
    assert (third["unchanged"], third["rejected"], third["rows"]) == (1, 1, 2)
    assert b"version_mismatch" in cloud.reports(f"{name}-3")["rejected.jsonl"]


@pytest.mark.parametrize("length", [991, 992, 993, 1023, 1024])
def test_a_file_whose_name_fills_the_key_gets_its_report(cloud: ImportCloud, length: int) -> None:
    name = f"{uuid4()}/" + "é" * 470
    key = f"imports/{name}"
    key += "x" * (length - len(key.encode()))
    group_id = _new_group()
    cloud.put(key, _csv([*_rows(group_id, 2), {"first_name": "only"}]))
    cloud.run()
    reports = cloud.reports(name[:36])
    assert reports.keys() == {"summary.json", "rejected.csv"}
    assert json.loads(reports["summary.json"])["source"]["key"] == key
    assert len(cloud.group(group_id)) == 2
    # The emulated S3 accepts longer keys than the real one.
    listed = cloud.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"reports/{name[:36]}")["Contents"]
    assert max(len(item["Key"].encode()) for item in listed) <= 1024


def test_an_import_that_was_forgotten_meets_its_own_rows(cloud: ImportCloud) -> None:
    group_id, name = _new_group(), str(uuid4())
    cloud.put(f"imports/{name}", _csv(_rows(group_id, 70)))
    (message,) = cloud.take("PlanQueue")
    cloud.deliver(message)
    cloud.run()
    import_id = cloud.summary(name)["import_id"]
    for chunk in range(3):
        key = {"import_id": {"S": import_id}, "chunk": {"N": str(chunk)}}
        cloud.dynamodb.delete_item(TableName="ImportsTable", Key=key)
    cloud.deliver(message)
    cloud.run()
    # The rows still say which import created them.
    assert _counts(cloud.summary(name)) == (70, 0, 0)
    assert len(cloud.group(group_id)) == 70


@pytest.mark.parametrize(
    ("data", "code", "row", "created"),
    [
        (b"", "empty", 1, 0),
        (b"\xff\xfea\x00", "not_text", 1, 0),
        (b"name,mail\na,b\n", "wrong_header", 1, 0),
        (b"[%s, {" % json.dumps(_rows(_new_group(), 1)[0]).encode(), "cut_off", 2, 1),
        (b"[%s,\f%s]" % ((json.dumps(_rows(_new_group(), 1)[0]).encode(),) * 2), "not_json", 2, 1),
        (gzip.compress(_csv(_rows(_new_group(), 80)), mtime=0)[:-9], "gzip_cut_off", 81, 80),
        (b"[%s, %s]" % (json.dumps(_rows(_new_group(), 1)[0]).encode(), b"[" * 100_000), "row_too_long", 2, 1),
    ],
    # The data differs each time, and without ids so would the names of the tests.
    ids=["empty", "not text", "wrong header", "cut off", "not JSON", "gzip cut off", "row too long"],
)
def test_a_file_that_is_broken_says_so_and_loses_none_of_the_rows_read(
    data: bytes, code: str, row: int, created: int, cloud: ImportCloud
) -> None:
    name = str(uuid4())
    cloud.put(f"imports/{name}", data)
    cloud.run()
    summary = cloud.summary(name)
    assert (summary["status"], summary["created"]) == ("failed", created)
    assert (summary["broken"]["code"], summary["broken"]["row"]) == (code, row)
    events = cloud.events()
    assert [event["detail-type"] for event in events] == ["Import started", "Import failed"]
    assert events[1]["detail"]["broken"] == {"row": row, "code": code}


def test_a_file_that_is_replaced_before_it_is_read_is_told_as_gone(cloud: ImportCloud) -> None:
    group_id, name = _new_group(), str(uuid4())
    cloud.put(f"imports/{name}", _csv(_rows(group_id, 3)))
    cloud.put(f"imports/{name}", _csv(_rows(group_id, 4)))
    cloud.run()
    assert len(cloud.group(group_id)) == 4
    statuses = {event["detail"]["status"] for event in cloud.events() if "status" in event["detail"]}
    assert statuses == {"completed", "failed"}


def test_the_latest_upload_of_a_file_is_the_latest_whose_event_comes_first_too(cloud: ImportCloud) -> None:
    group_id, key = _new_group(), f"imports/{uuid4()}"
    for count in (3, 4):
        cloud.put(key, _csv(_rows(group_id, count)))
    older, newer = cloud.take("PlanQueue")
    for plan in (newer, older, older):
        cloud.deliver(plan)
        cloud.run()
    latest = cloud.apps["PlanImport"].imports.store.latest(BUCKET, key)
    assert latest[1] == cloud.s3.head_object(Bucket=BUCKET, Key=key)["ETag"].strip('"')
    assert len(cloud.group(group_id)) == 4


def test_the_laptop_tells_of_an_upload_only_when_its_metadata_is_there(
    cloud: ImportCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, taken = threading.Event(), threading.Event()
    stored = []
    set_metadata = FakeKey.set_metadata

    def set_late(key: FakeKey, metadata: dict[str, str]) -> None:
        begun.set()
        # Whoever can take the event already does so now.
        taken.wait(1)
        set_metadata(key, metadata)
        stored.append(metadata)

    monkeypatch.setattr(FakeKey, "set_metadata", set_late)
    with ThreadPoolExecutor(1) as threads:
        put = threads.submit(cloud.put, f"imports/{uuid4()}", b"", {"ignore": "Notes"})
        assert begun.wait(10)
        (plan,) = cloud.take("PlanQueue")
        assert stored
        taken.set()
        put.result()
    cloud.deliver(plan)


def test_a_message_becomes_customers(cloud: ImportCloud) -> None:
    group_id = _new_group()
    one = cloud.send(json.dumps(_rows(group_id, 301)[300], indent=2))
    many = cloud.send(json.dumps({"customers": [*_rows(group_id, 300), {}, 7]}))
    cloud.run(twice=True)
    assert _counts(cloud.summary(f"messages/{one}")) == (1, 0, 0)
    assert _counts(cloud.summary(f"messages/{many}")) == (300, 0, 2)
    assert cloud.reports(f"messages/{many}")["rejected.jsonl"].count(b"\n") == 2
    assert len(cloud.group(group_id)) == 301


def test_an_import_is_told_when_it_starts_and_with_its_summary_when_it_is_over(cloud: ImportCloud) -> None:
    group_id, name = _new_group(), str(uuid4())
    rows = [*_rows(group_id, 2), {"first_name": "only"}]
    cloud.put(f"imports/{name}", _csv(rows))
    cloud.run()
    of_file = cloud.events()
    message_id = cloud.send(json.dumps({"customers": [*_rows(group_id, 3), {}]}))
    cloud.run()
    of_message = cloud.events()
    import_id = hashlib.sha256(json.dumps(["message", message_id]).encode()).hexdigest()[:32]
    assert cloud.summary(f"messages/{message_id}")["import_id"] == import_id
    for events, folder, source, created in (
        (of_file, name, {"bucket": BUCKET, "key": f"imports/{name}"}, 2),
        (of_message, f"messages/{message_id}", {"message_id": message_id}, 1),
    ):
        summary = cloud.summary(folder)
        assert (summary["created"], summary["rejected"], summary["broken"]) == (created, 1, None)
        del summary["started_at"], summary["finished_at"]
        started, over = events
        assert (started["source"], started["detail-type"]) == ("customers.imports", "Import started")
        assert started["detail"] == {"import_id": summary["import_id"], "source": source}
        assert (over["source"], over["detail-type"]) == ("customers.imports", "Import completed")
        assert over["detail"] == summary
    # The history names the import that created a customer.
    imports = {over["detail"]["import_id"] for _, over in (of_file, of_message)}
    for item in cloud.group(group_id):
        stored: Any = cloud.dynamodb.get_item(TableName="CustomersTable", Key={"id": item["id"]})["Item"]
        assert stored["author"]["M"]["import_id"]["S"] in imports


@pytest.mark.parametrize("form", ["csv", "lines"])
@pytest.mark.parametrize("milliseconds", [900_000, 1000])
def test_the_last_row_of_a_customer_wins_even_if_it_changes_nothing_and_the_chunks_come_in_reverse(
    form: str, milliseconds: int, cloud: ImportCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, keys = str(uuid4()), [str(uuid4()) for _ in range(120)]
    stored: list[Any] = [{**row, "external_id": key} for row, key in zip(_rows(_new_group(), 120), keys, strict=True)]
    store = ExternalIdStore(cloud.dynamodb, "CustomersTable")
    before = [store.put(row["external_id"], row, versions=None, exists=None, author=TESTER)[0] for row in stored]
    other = [{**row, "last_name": "Other"} for row in stored[:2]]
    # Chunks have fifty rows.
    cloud.put(f"imports/{name}", FORMS[form]([*other, *stored[2:], *stored[:2]]))
    monkeypatch.setattr(cloud, "milliseconds", milliseconds)
    while plans := list(cloud.take("PlanQueue")):
        for plan in plans:
            cloud.deliver(plan)
    chunks = sorted(cloud.take("ChunkQueue"), key=lambda message: json.loads(message.body)["chunk"], reverse=True)
    assert len(chunks) >= 3
    for chunk in chunks:
        cloud.deliver(chunk)
    assert [store.get(key) for key in keys] == before
    summary = cloud.summary(name)
    assert (summary["unchanged"], summary["superseded"], summary["updated"]) == (120, 2, 0)


def test_a_message_does_not_replace_what_was_written_after_it_was_sent(cloud: ImportCloud) -> None:
    key, row = str(uuid4()), _rows(_new_group(), 1)[0]
    store = ExternalIdStore(cloud.dynamodb, "CustomersTable")

    def put(word: str) -> None:
        new: Any = {**row, "external_id": key, "last_name": word}
        store.put(key, new, versions=None, exists=None, author=TESTER)

    def send(word: str) -> str:
        return cloud.send(json.dumps({**row, "external_id": key, "last_name": word}))

    put("First")
    late = send("Second")
    _wait_for_the_next_millisecond()
    put("Third")
    cloud.run()
    assert store.get(key)["last_name"] == "Third"
    assert cloud.summary(f"messages/{late}")["superseded"] == 1
    newer = send("Fourth")
    cloud.run()
    assert store.get(key)["last_name"] == "Fourth"
    assert cloud.summary(f"messages/{newer}")["updated"] == 1


@pytest.mark.parametrize(
    "body", ["no json", "[1]", '"x"', '{"customers": 1}', '{"customers": [], "more": 1}', "\ud800"]
)
def test_a_message_that_cannot_be_read_fails(body: str, cloud: ImportCloud) -> None:
    done, calls = cloud.invoke(Message("ImportQueue", str(uuid4()), body))
    assert not done
    assert calls == ["AmazonSQS.ChangeMessageVisibility"], "it comes again at once"


def test_what_cannot_be_read_ends_in_the_dead_letter_queue_whole(cloud: ImportCloud) -> None:
    cloud.send("no json")
    cloud.run()
    assert [message.body for message in cloud.take("ImportDeadLetters")] == ["no json"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_every_function_may_die_at_every_call(when: str, cloud: ImportCloud) -> None:
    at, died = 0, True
    hit: set[str] = set()
    while died:
        died = False
        group_id, name = _new_group(), str(uuid4())
        cloud.put(f"imports/{name}", gzip.compress(_csv([*_rows(group_id, 70), {"first_name": "only"}])))
        message_id = cloud.send(json.dumps({"customers": [*_rows(group_id, 100)[70:], {}]}))
        for queue in ("PlanQueue", "ChunkQueue", "ImportQueue"):
            for message in cloud.take(queue):
                done, calls = cloud.invoke(message, Fault(at, when))
                died |= len(calls) > at
                hit |= set(calls[at : at + 1])
                if not done:
                    cloud.deliver(message)
        cloud.run()
        ids = [item["id"]["N"] for item in cloud.group(group_id)]
        assert len(set(ids)) == len(ids) == 100, f"{when} call {at}"
        assert _counts(cloud.summary(name)) == (70, 0, 1), f"{when} call {at}"
        assert _counts(cloud.summary(f"messages/{message_id}")) == (30, 0, 1), f"{when} call {at}"
        kinds = {event["detail-type"] for event in cloud.events()}
        assert kinds == {"Import started", "Import completed"}, f"{when} call {at}"
        at += 1
    writes = ("BatchExecuteStatement", "PutItem", "TransactWriteItems", "UpdateItem")
    assert hit >= {*(f"DynamoDB_20120810.{name}" for name in writes), "PUT", "AWSEvents.PutEvents"}, hit


def test_the_same_deliveries_at_once_count_once(cloud: ImportCloud) -> None:
    group_id, name = _new_group(), str(uuid4())
    cloud.put(f"imports/{name}", _csv([*_rows(group_id, 260), {"first_name": "only"}]))
    (plan,) = cloud.take("PlanQueue")
    planning, writing = (cloud.apps[name].lambda_handler for name in ("PlanImport", "ImportCustomers"))
    context = Context(cloud.milliseconds)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: planning(plan.event(), context), range(3)))
        messages = list(cloud.take("ChunkQueue"))
        answers += threads.map(lambda message: writing(message.event(), context), messages * 2)
    assert len(messages) == 18
    assert all(not answer["batchItemFailures"] for answer in answers)
    assert len(cloud.group(group_id)) == 260
    assert _counts(cloud.summary(name)) == (260, 0, 1)


def test_chunks_may_come_in_any_order_and_late(cloud: ImportCloud) -> None:
    group_id, name = _new_group(), str(uuid4())
    cloud.put(f"imports/{name}", _csv([*_rows(group_id, 260), {"first_name": "only"}]))
    (plan,) = cloud.take("PlanQueue")
    cloud.deliver(plan)
    first, *others = cloud.take("ChunkQueue")
    for chunk in reversed(others):
        cloud.deliver(chunk)
    cloud.deliver(plan)
    assert not cloud.reports(name), "the first chunk is still on its way"
    cloud.deliver(first)
    assert _counts(cloud.summary(name)) == (260, 0, 1)
    assert len(cloud.group(group_id)) == 260


def test_a_third_of_the_statements_throttled_costs_no_row(cloud: ImportCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    group_id, name = _new_group(), str(uuid4())
    cloud.put(f"imports/{name}", _csv([*_rows(group_id, 260), {"first_name": "only"}]))
    throttled: list[int] = []

    def admits(place: int) -> bool:
        if random.randrange(3):
            return True
        throttled.append(place)
        return False

    monkeypatch.setattr(bulk, "_LONGEST_PAUSE", 0.01)
    client = cloud.apps["ImportCustomers"].imports.dynamodb
    with sent_through(client, admitting(cloud.dynamodb, admits)):
        cloud.run()
    assert len(throttled) > 50
    assert _counts(cloud.summary(name)) == (260, 0, 1)
    assert len(cloud.group(group_id)) == 260


@pytest.mark.parametrize("when", ["before", "after"])
def test_whoever_books_what_could_not_be_processed_may_die_at_every_call(when: str, cloud: ImportCloud) -> None:
    at, died = 0, True
    while died:
        group_id, name = _new_group(), str(uuid4())
        cloud.put(f"imports/{name}", _csv(_rows(group_id, 70)))
        (plan,) = cloud.take("PlanQueue")
        cloud.deliver(plan)
        first, second = cloud.take("ChunkQueue")
        cloud.deliver(second)
        letter = first._replace(queue="ChunkDeadLetters")
        done, calls = cloud.invoke(letter, Fault(at, when))
        died = len(calls) > at
        if not done:
            cloud.deliver(letter)
        assert _counts(cloud.summary(name)) == (20, 0, 50), f"{when} call {at}"
        assert cloud.reports(name)["rejected.csv"].count(b"Could not be processed") == 50
        assert len(cloud.group(group_id)) == 20
        at += 1
    assert at > 5


def test_formulas_are_kept_as_they_are_and_equal_rows_are_one_customer(cloud: ImportCloud) -> None:
    group_id, name = _new_group(), str(uuid4())
    row = {**_rows(group_id, 1)[0], "first_name": "=cmd('calc')", "last_name": "@SUM(A1)"}
    cloud.put(f"imports/{name}", _csv([row] * 120 + [{**row, "email": "=1+1"}]))
    cloud.run()
    assert _counts(cloud.summary(name)) == (1, 119, 1)
    assert {customer(item)["first_name"] for item in cloud.group(group_id)} == {"=cmd('calc')"}
    (report,) = csv.DictReader(io.StringIO(cloud.reports(name)["rejected.csv"].decode()))
    assert (report["first_name"], report["email"]) == ("=cmd('calc')", "=1+1")


def test_what_another_bucket_tells_is_not_imported(cloud: ImportCloud) -> None:
    group_id, name = _new_group(), str(uuid4())
    cloud.put(f"imports/{name}", _csv(_rows(group_id, 3)))
    (plan,) = cloud.take("PlanQueue")
    cloud.deliver(plan._replace(body=plan.body.replace(f'"{BUCKET}"', '"another-bucket"')))
    assert not list(cloud.take("ChunkQueue"))
    cloud.deliver(plan)
    cloud.run()
    assert len(cloud.group(group_id)) == 3


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", ["csv", "lines", "object"])
def test_a_plan_whose_time_runs_low_is_continued(form: str, packed: bool, cloud: ImportCloud) -> None:  # noqa: FBT001
    group_id, name = _new_group(), str(uuid4())
    data = FORMS[form](_rows(group_id, 260))
    cloud.put(f"imports/{name}", gzip.compress(data) if packed else data)
    cloud.milliseconds = 1000
    try:
        plans = 0
        while messages := list(cloud.take("PlanQueue")):
            plans += len(messages)
            for message in messages:
                cloud.deliver(message)
    finally:
        cloud.milliseconds = 900_000
    assert plans >= 6
    cloud.run()
    assert len(cloud.group(group_id)) == 260
    summary = cloud.summary(name)
    assert (summary["status"], *_counts(summary)) == ("completed", 260, 0, 0)


def test_a_chunk_that_keeps_failing_is_rejected_but_for_what_was_written(cloud: ImportCloud) -> None:
    group_id, name = _new_group(), str(uuid4())
    cloud.put(f"imports/{name}", _csv(_rows(group_id, 70)))
    batches = []

    def fail_after_the_first(request: AWSPreparedRequest) -> None:
        if target_of(request).endswith(".BatchExecuteStatement"):
            batches.append(request)
            if len(batches) > 1:
                raise RuntimeError

    with sent_through(cloud.apps["ImportCustomers"].imports.dynamodb, fail_after_the_first):
        (plan,) = cloud.take("PlanQueue")
        cloud.deliver(plan)
        first, second = cloud.take("ChunkQueue")
        assert not cloud.invoke(first)[0]
    cloud.deliver(second)
    assert not cloud.reports(name)
    cloud.deliver(first._replace(queue="ChunkDeadLetters"))
    assert _counts(cloud.summary(name)) == (45, 0, 25)
    assert len(cloud.group(group_id)) == 45
    assert cloud.reports(name)["rejected.csv"].count(b"Could not be processed") == 25
    cloud.deliver(first)
    assert len(cloud.group(group_id)) == 45, "what is booked is booked"


def test_a_row_that_could_not_be_processed_says_so_in_its_report(cloud: ImportCloud) -> None:
    name = str(uuid4())
    cloud.put(f"imports/{name}", FORMS["lines"](_rows(_new_group(), 1)))
    (plan,) = cloud.take("PlanQueue")
    cloud.deliver(plan)
    (chunk,) = cloud.take("ChunkQueue")
    cloud.deliver(chunk._replace(queue="ChunkDeadLetters"))
    (line,) = cloud.reports(name)["rejected.jsonl"].splitlines()
    assert json.loads(line)["import_errors"] == [
        {"pointer": "#", "code": "not_processed", "detail": "Could not be processed. Import it again."}
    ]


def test_a_message_brings_no_deleted_customer_back(cloud: ImportCloud) -> None:
    group_id = _new_group()
    body = json.dumps(_rows(group_id, 1)[0])
    cloud.send(body)
    cloud.run()
    (item,) = cloud.group(group_id)
    CustomerStore(cloud.dynamodb, "CustomersTable").delete(int(item["id"]["N"]), None, TESTER)
    cloud.send(body)
    cloud.run()
    assert cloud.group(group_id) == []


def test_a_file_that_cannot_be_planned_is_told_as_failed(cloud: ImportCloud) -> None:
    name = str(uuid4())
    cloud.put(f"imports/{name}", _csv(_rows(1, 3)))
    (plan,) = cloud.take("PlanQueue")
    cloud.deliver(plan._replace(queue="PlanDeadLetters"))
    assert cloud.summary(name)["broken"]["code"] == "not_processed"
    cloud.deliver(plan)
    assert cloud.summary(name)["status"] == "failed"


def test_a_file_that_was_gone_is_imported_when_it_is_put_again(cloud: ImportCloud) -> None:
    group_id, name = _new_group(), str(uuid4())
    cloud.put(f"imports/{name}", _csv(_rows(group_id, 70)))
    cloud.s3.delete_object(Bucket=BUCKET, Key=f"imports/{name}")
    cloud.run()
    assert cloud.summary(name)["broken"] == {
        "row": 1,
        "code": "gone",
        "detail": "The file was deleted or replaced before it was read.",
    }
    cloud.put(f"imports/{name}", _csv(_rows(group_id, 70)))
    cloud.run()
    summary = cloud.summary(name)
    assert (summary["status"], *_counts(summary)) == ("completed", 70, 0, 0)
    assert len(cloud.group(group_id)) == 70


def _planned_in_part(
    cloud: ImportCloud, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes
) -> tuple[Message, list[Message]]:
    """Put a file whose plan dies once the position after the first chunk is kept. Return the plan and sent chunks."""
    planner = cloud.apps["PlanImport"]
    cloud.put(f"imports/{name}", data)
    (plan,) = cloud.take("PlanQueue")
    with monkeypatch.context() as patch:
        patch.setattr(planner, "BYTES_BETWEEN_POSITIONS", 1)
        patch.setattr(chunks_module, "_BATCH", 1)
        patch.setattr(planner.imports.store, "plan", _die)
        keep, kept = planner.imports.store.keep_position, list[None]()

        def keep_first(*arguments: Any) -> None:
            if not kept:
                kept.append(keep(*arguments))

        patch.setattr(planner.imports.store, "keep_position", keep_first)
        assert not cloud.invoke(plan)[0]
    return plan, list(cloud.take("ChunkQueue"))


def _die(*_: object) -> None:
    raise RuntimeError


def test_a_file_whose_plan_stopped_is_imported_to_its_end_when_it_is_put_again(
    cloud: ImportCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    group_id, name = _new_group(), str(uuid4())
    rows = _rows(group_id, 220)
    rows[3] |= {"email": "no address"}
    plan, (first, *_) = _planned_in_part(cloud, monkeypatch, name, _csv(rows))
    cloud.deliver(first)
    cloud.deliver(plan._replace(queue="PlanDeadLetters"))
    summary = cloud.summary(name)
    assert (summary["broken"]["code"], summary["broken"]["row"], *_counts(summary)) == ("not_processed", 51, 49, 0, 1)
    cloud.put(f"imports/{name}", _csv(rows))
    cloud.run()
    summary = cloud.summary(name)
    assert (summary["status"], *_counts(summary)) == ("completed", 170, 49, 1)
    assert len(cloud.group(group_id)) == 219


def test_chunks_beyond_a_plan_that_stopped_are_told_once_they_come(
    cloud: ImportCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    group_id, name = _new_group(), str(uuid4())
    rows = [{**row, "email": "no address"} for row in _rows(group_id, 150)]
    plan, chunks = _planned_in_part(cloud, monkeypatch, name, _csv(rows))
    assert len(chunks) == 3
    cloud.deliver(plan._replace(queue="PlanDeadLetters"))
    for number, chunk in enumerate(reversed(chunks), 1):
        cloud.deliver(chunk)
        cloud.deliver(chunk)
        assert _counts(cloud.summary(name)) == (0, 0, 50 * number)
        assert cloud.reports(name)["rejected.csv"].count(b"no address") == 50 * number
    events = [event["detail-type"] for event in cloud.events()]
    assert events.count("Import failed") == 3


def test_a_file_that_is_gone_half_way_keeps_its_place_and_its_form(
    cloud: ImportCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(uuid4())
    plan, (first, *_) = _planned_in_part(cloud, monkeypatch, name, _csv([{"first_name": "only"}] * 130))
    cloud.s3.delete_object(Bucket=BUCKET, Key=f"imports/{name}")
    cloud.deliver(plan)
    cloud.deliver(first)
    assert (cloud.summary(name)["broken"]["code"], cloud.summary(name)["broken"]["row"]) == ("gone", 51)
    assert cloud.reports(name)["rejected.csv"].startswith(b"\xef\xbb\xbfimport_row,import_errors,first_name")


def test_what_was_lost_of_an_import_comes_again_with_its_file(cloud: ImportCloud) -> None:
    group_id, name = _new_group(), str(uuid4())
    data = _csv([{"first_name": "only"}, *_rows(group_id, 259)])
    cloud.put(f"imports/{name}", data)
    (plan,) = cloud.take("PlanQueue")
    cloud.deliver(plan)
    first, second, *_ = cloud.take("ChunkQueue")
    cloud.deliver(first)
    cloud.deliver(second)
    # The laptop's bucket and queues end with the service, but the table does not. On AWS, a queue may be purged.
    for item in cloud.s3.list_objects_v2(Bucket=BUCKET, Prefix="parts/")["Contents"]:
        cloud.s3.delete_object(Bucket=BUCKET, Key=item["Key"])
    cloud.put(f"imports/{name}", data)
    cloud.run()
    summary = cloud.summary(name)
    assert (summary["status"], *_counts(summary)) == ("completed", 160, 99, 1)
    assert cloud.reports(name)["rejected.csv"].count(b"\r\n1,") == 1
    assert len(cloud.group(group_id)) == 259


def test_a_broken_file_says_why_in_its_report_and_its_item_quotes_nothing(cloud: ImportCloud) -> None:
    name = str(uuid4())
    for _ in range(2):
        cloud.put(f"imports/{name}", b"SecretName,x@example.com\n")
        cloud.run()
        summary = cloud.summary(name)
        detail = summary["broken"]["detail"]
        assert detail.startswith("The CSV header must name first_name, last_name, email, group_id and may name ")
        assert "'SecretName'" in detail
        kept = cloud.apps["PlanImport"].imports.store.get(summary["import_id"])
        assert "SecretName" not in kept.broken.detail


def test_a_file_whose_columns_were_not_understood_is_read_anew_when_they_are_mapped(cloud: ImportCloud) -> None:
    group_id, name = _new_group(), str(uuid4())
    data = _csv(_rows(group_id, 3)).replace(b"email", b"Mail", 1)
    for metadata, status in (({}, "failed"), ({"map": "Mail=mail"}, "failed"), ({"map": "Mail=email"}, "completed")):
        cloud.put(f"imports/{name}", data, metadata)
        cloud.run()
        assert cloud.summary(name)["status"] == status
    assert len(cloud.group(group_id)) == 3


def test_no_event_and_no_log_line_shows_a_person(cloud: ImportCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", written)
    cloud.put(f"imports/{uuid4()}", b"SecretName,x@example.com\n")
    cloud.put(f"imports/{uuid4()}", _csv([{**_rows(1, 1)[0], "first_name": "SecretName", "age": "SecretAge"}]))
    cloud.send('{"first_name": "SecretName"')
    cloud.run()
    assert "Secret" not in json.dumps(cloud.events())
    assert "message failed" in written.getvalue()
    assert "Secret" not in written.getvalue()
    list(cloud.take("ImportDeadLetters"))


def test_a_report_of_any_size_is_written_in_parts(cloud: ImportCloud) -> None:
    key, block = f"reports/{uuid4()}", b"0123456789" * 150_000
    for blocks, parts in ((12, '-2"'), (1, '"')):
        cloud.apps["PlanImport"].imports.bucket.write(key, (block for _ in range(blocks)), "text/csv")
        written = cloud.s3.get_object(Bucket=BUCKET, Key=key)
        assert written["Body"].read() == block * blocks
        assert written["ETag"][33:] == parts
        assert written["ContentType"] == "text/csv"


def test_what_became_of_an_import_is_logged_for_those_who_search(
    cloud: ImportCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", written)
    cloud.put(f"imports/{uuid4()}", _csv(_rows(_new_group(), 2)))
    cloud.run()
    (over,) = (line for line in map(json.loads, written.getvalue().splitlines()) if line["message"] == "import over")
    (summary,) = cloud.events()[-1:]
    assert over["import_id"] == summary["detail"]["import_id"]
    assert (over["ImportsCompleted"], over["RowsCreated"], over["RowsRejected"]) == (1, 2, 0)
