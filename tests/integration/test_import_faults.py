"""If AWS refuses, cuts short or skips something in an otherwise good answer, it is noticed, and no row is lost."""

from __future__ import annotations

import hashlib
import json
import random
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from customers.aws.queues import return_at_once
from customers.imports import chunks as chunks_module
from customers.imports.bucket import FileGoneError, ImportBucket
from tests.integration.import_cloud import BUCKET

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.import_cloud import ImportCloud

pytestmark = pytest.mark.cloud

MOST_ENTRIES = 10
MOST_BYTES = 256 * 1024
"""Of a message, and of all in a batch. SQS takes 1 MiB since August 2025; a queue made before keeps its own limit.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
"""
DAY = 86_400


def _new_group() -> int:
    return random.randrange(1, 2**53)


def _lines(group_id: int, size: int) -> bytes:
    row = {"first_name": "Jo", "last_name": "Doe", "email": "jo@example.com", "group_id": group_id}
    return b"".join(json.dumps({**row, "last_name": f"Doe {number}"}).encode() + b"\n" for number in range(size))


def _incompressible(length: int) -> str:
    letters = [letter for letter in map(chr, range(0x20, 0x7F)) if letter not in '"\\']
    return "".join(random.choices(letters, k=length))


class Queues:
    """The planner's queues, some of which refuse what is sent. They keep every batch that they received."""

    def __init__(self, client: Any, refuses: Callable[[str], bool] = lambda _: False) -> None:
        self._client = client
        self._refuses = refuses
        self.batches: list[list[str]] = []
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def send_message_batch(self, **arguments: Any) -> Any:
        entries = arguments["Entries"]
        self.batches.append([entry["MessageBody"] for entry in entries])
        good = [entry for entry in entries if not self._refuses(entry["MessageBody"])]
        bad = [entry for entry in entries if entry not in good]
        self.refused += len(bad)
        answer = self._client.send_message_batch(**{**arguments, "Entries": good}) if good else {"Successful": []}
        # AWS leaves the list out where it is empty.
        failed = [{"Id": entry["Id"], "SenderFault": False, "Code": "InternalError"} for entry in bad]
        return {**answer, **({"Failed": failed} if failed else {})}


def _queues(
    cloud: ImportCloud, monkeypatch: pytest.MonkeyPatch, refuses: Callable[[str], bool] = lambda _: False
) -> Queues:
    planner = cloud.apps["PlanImport"]
    queues = Queues(planner.queues, refuses)
    monkeypatch.setattr(planner, "queues", queues)
    return queues


def _assert_complete(cloud: ImportCloud, name: str, group_id: int, rows: int) -> None:
    summary = cloud.summary(name)
    assert (summary["status"], summary["rows"], summary["created"]) == ("completed", rows, rows)
    assert summary["summary"] == f"reports/{name}/{summary['import_id'][:16]}/summary.json"
    assert summary["rows_per_second"] == pytest.approx(rows / summary["seconds"], rel=0.1)
    assert len(cloud.group(group_id)) == rows


@pytest.mark.parametrize("refused", [{1}, {2, 3}, set(range(1, 12))])
def test_chunks_that_the_queue_refuses_in_a_batch_are_sent_again(
    refused: set[int], cloud: ImportCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    group_id, name = _new_group(), str(uuid4())
    monkeypatch.setattr(chunks_module, "_ROWS", 20)
    queues = _queues(cloud, monkeypatch, lambda message: json.loads(message)["chunk"] in refused)
    cloud.put(f"imports/{name}", _lines(group_id, 220))
    cloud.run()
    assert queues.refused == len(refused)
    _assert_complete(cloud, name, group_id, 220)


def test_a_chunk_that_the_queue_refuses_again_fails_the_plan_which_is_repeated(
    cloud: ImportCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    group_id, name = _new_group(), str(uuid4())
    monkeypatch.setattr(chunks_module, "_ROWS", 20)
    cloud.put(f"imports/{name}", _lines(group_id, 100))
    (plan,) = cloud.take("PlanQueue")
    with monkeypatch.context() as patch:
        queues = _queues(cloud, patch, lambda message: json.loads(message)["chunk"] == 3)

        def refuse(**_: object) -> None:
            raise RuntimeError

        patch.setattr(queues, "send_message", refuse)
        assert not cloud.invoke(plan)[0]
    cloud.deliver(plan)
    cloud.run()
    _assert_complete(cloud, name, group_id, 100)


@pytest.mark.parametrize(("rows", "row_bytes"), [(250, 60), (200, 6_000), (20, 60_000)])
def test_what_is_sent_is_within_the_limits_of_sqs(
    rows: int, row_bytes: int, cloud: ImportCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The rows' names are too long for customers, and random, so that they hardly compress.
    name = str(uuid4())
    queues = _queues(cloud, monkeypatch)
    monkeypatch.setattr(chunks_module, "_ROWS", 20)
    lines = [json.dumps({"first_name": _incompressible(row_bytes)}) for _ in range(rows)]
    cloud.put(f"imports/{name}", "\n".join(lines).encode())
    cloud.run()
    assert cloud.summary(name)["rejected"] == rows
    assert sum(len(batch) for batch in queues.batches) >= MOST_ENTRIES
    for batch in queues.batches:
        sizes = [len(message.encode()) for message in batch]
        assert len(batch) <= MOST_ENTRIES
        assert max(sizes) <= MOST_BYTES
        assert sum(sizes) <= MOST_BYTES


class RefusingBus:
    """A bus that refuses events a given number of times."""

    def __init__(self, bus: Any, times: int) -> None:
        self._bus = bus
        self._times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    def put_events(self, **arguments: Any) -> Any:
        if self._times:
            self._times -= 1
            return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "later"}]}
        return self._bus.put_events(**arguments)


@pytest.mark.parametrize(("refusals", "deliveries"), [(2, 1), (11, 2)])
@pytest.mark.parametrize("source", ["file", "message"])
def test_an_event_that_the_bus_refuses_is_put_again(
    source: str, refusals: int, deliveries: int, cloud: ImportCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("customers.imports.run.time.sleep", pauses.append)
    imports = cloud.apps["ImportCustomers"].imports
    monkeypatch.setattr(imports, "_bus", RefusingBus(imports._bus, refusals))  # noqa: SLF001 (what it puts events on)
    handled: list[object] = []
    handler = cloud.apps["ImportCustomers"].lambda_handler

    def handle(*call: Any) -> Any:
        handled.append(call)
        return handler(*call)

    monkeypatch.setattr(cloud.apps["ImportCustomers"], "lambda_handler", handle)
    group_id, name = _new_group(), str(uuid4())
    if source == "file":
        cloud.put(f"imports/{name}", _lines(group_id, 3))
    else:
        cloud.send(_lines(group_id, 1).decode())
    cloud.run()
    assert [event["detail-type"] for event in cloud.events()] == ["Import started", "Import completed"]
    assert len(cloud.group(group_id)) == (3 if source == "file" else 1)
    assert len(handled) == deliveries
    assert len(pauses) == refusals - (deliveries - 1)
    assert all(0 <= pause <= 3.2 for pause in pauses)


def test_a_plan_that_died_at_the_very_end_of_its_file_is_completed(
    cloud: ImportCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its successor asks S3 for what comes after the last byte, which is an error in S3.
    group_id, name = _new_group(), str(uuid4())
    planner = cloud.apps["PlanImport"]
    data = _lines(group_id, 60)
    cloud.put(f"imports/{name}", data)
    (plan,) = cloud.take("PlanQueue")

    def die(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(chunks_module, "_ROWS", 20)
        patch.setattr(planner, "BYTES_BETWEEN_POSITIONS", 1)
        patch.setattr(planner.imports.store, "plan", die)
        assert not cloud.invoke(plan)[0]
    asked: list[str | None] = []
    planner.imports.bucket._client.meta.events.register(  # noqa: SLF001 (what it asks)
        "provide-client-params.s3.GetObject", lambda params, **_: asked.append(params.get("Range")), unique_id="asked"
    )
    try:
        cloud.deliver(plan)
    finally:
        planner.imports.bucket._client.meta.events.unregister(  # noqa: SLF001
            "provide-client-params.s3.GetObject", unique_id="asked"
        )
    assert asked == [f"bytes={len(data)}-"]
    cloud.run()
    _assert_complete(cloud, name, group_id, 60)


def test_what_is_known_of_an_import_is_kept_for_thirty_days(cloud: ImportCloud) -> None:
    group_id, name = _new_group(), str(uuid4())
    cloud.put(f"imports/{name}", _lines(group_id, 3))
    message_id = cloud.send(_lines(group_id, 1).decode())
    cloud.run()
    expiry = cloud.dynamodb.describe_time_to_live(TableName="ImportsTable")["TimeToLiveDescription"]["AttributeName"]
    chunks = []
    for folder in (name, f"messages/{message_id}"):
        import_id = cloud.summary(folder)["import_id"]
        items = cloud.dynamodb.query(
            TableName="ImportsTable",
            KeyConditionExpression="import_id = :import_id",
            ExpressionAttributeValues={":import_id": {"S": import_id}},
        )["Items"]
        chunks += items
    assert len(chunks) == 4
    for item in chunks:
        assert 0 <= 30 * DAY - (int(item[expiry]["N"]) - time.time()) < 600


def test_a_part_that_is_no_longer_kept_is_empty_and_any_other_error_is_one(cloud: ImportCloud) -> None:
    bucket, import_id = ImportBucket(cloud.s3, BUCKET), uuid4().hex
    key = bucket.write_part(import_id, 7, b"a line\n")
    assert key == f"parts/{import_id}/7-{hashlib.sha256(b'a line\n').hexdigest()[:16]}"
    assert bucket.read_part(key) == b"a line\n"
    assert bucket.read_part(f"{key}-gone") == b""
    with pytest.raises(ClientError, match="NoSuchBucket"):
        ImportBucket(cloud.s3, "no-such-bucket").read_part(key)


def test_a_file_is_opened_from_a_byte_on_if_it_is_what_it_was(cloud: ImportCloud) -> None:
    bucket, key = ImportBucket(cloud.s3, BUCKET), f"files/{uuid4()}"
    cloud.put(key, b"0123456789", {"map": "Mail=email"})
    etag = cloud.s3.head_object(Bucket=BUCKET, Key=key)["ETag"].strip('"')
    for start, rest, metadata in (
        (0, b"0123456789", {"map": "Mail=email"}),
        (4, b"456789", {"map": "Mail=email"}),
        (10, b"", {}),
    ):
        opened = bucket.open(key, etag, start)
        assert (opened.stream.read(100), opened.metadata) == (rest, metadata)
    cloud.put(key, b"replaced")
    for gone in (key, f"{key}-gone"):
        with pytest.raises(FileGoneError) as caught:
            bucket.open(gone, etag, 0)
        assert isinstance(caught.value.__cause__, ClientError)
    with pytest.raises(ClientError, match="NoSuchBucket"):
        ImportBucket(cloud.s3, "no-such-bucket").open(key, etag, 0)


def test_a_message_that_is_returned_comes_again_at_once(cloud: ImportCloud) -> None:
    name = f"Returned-{uuid4()}"
    url = cloud.sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "1800"})["QueueUrl"]
    cloud.sqs.send_message(QueueUrl=url, MessageBody="no json")
    (message,) = cloud.sqs.receive_message(QueueUrl=url)["Messages"]
    assert "Messages" not in cloud.sqs.receive_message(QueueUrl=url), "it is hidden"
    # It does not matter if the queue refuses that.
    return_at_once(cloud.sqs, url, {"receiptHandle": "unknown"})
    assert "Messages" not in cloud.sqs.receive_message(QueueUrl=url)
    return_at_once(cloud.sqs, url, {"receiptHandle": message["ReceiptHandle"]})
    (again,) = cloud.sqs.receive_message(QueueUrl=url)["Messages"]
    assert (again["MessageId"], again["Body"]) == (message["MessageId"], "no json")
