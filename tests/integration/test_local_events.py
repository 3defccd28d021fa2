"""The laptop cloud hands messages and files to functions as SQS, S3 and Lambda would."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import boto3
import httpx
import pytest
from botocore.exceptions import ConnectionClosedError

from local.cloud import Cloud
from local.errors import TemplateError
from local.events.queues import failed_messages
from local.template.document import Template
from local.template.stack import read_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

pytestmark = pytest.mark.cloud

_ROOT = Path(__file__).parents[2]
_APP = Path(__file__).with_name("local_events_app")
_STOP_SECONDS = 5
_WORK_VISIBILITY, _REPORTED_VISIBILITY = 2, 5
"""Seconds, as the template says."""
_PATIENCE = 120
"""Seconds. A busy machine may need many times as long as an idle one."""


@dataclass
class _Cloud:
    """A running laptop cloud, seen from outside."""

    process: subprocess.Popen[str]
    url: str
    data: Path
    sqs: SQSClient
    s3: S3Client
    dynamodb: DynamoDBClient
    notes: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def start(cls, app: Path, data: Path) -> Self:
        process = subprocess.Popen(
            [sys.executable, "-m", "local", "--template", str(app / "template.yaml")],
            cwd=_ROOT,
            env={**os.environ, "DATA_DIR": str(data), "PORT": "0"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        url = next((line.split()[1] for line in process.stdout if line.startswith("ready")), None)
        if url is None:
            process.communicate()
            raise AssertionError("it ended before it was ready")
        endpoints = json.loads((data / "endpoints.json").read_text())
        endpoint = endpoints["aws"]
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
        sqs = session.client("sqs", endpoint_url=endpoint)
        s3 = session.client("s3", endpoint_url=endpoint)
        return cls(process, url, data, sqs, s3, session.client("dynamodb", endpoint_url=endpoints["dynamodb"]))

    def stop(self, number: int = signal.SIGTERM, seconds: int = _PATIENCE) -> int:
        self.sqs.close()
        self.s3.close()
        self.dynamodb.close()
        self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()
            self.process.communicate()

    def queue(self, name: str) -> str:
        return self.sqs.get_queue_url(QueueName=name)["QueueUrl"]

    def send(self, queue: str, *bodies: object) -> list[str]:
        """Send messages, and return their ids."""
        url = self.queue(queue)
        return [self.sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body))["MessageId"] for body in bodies]

    def take(self, queue: str) -> list[dict[str, Any]]:
        """Take the messages out of a queue that no function consumes."""
        url = self.queue(queue)
        messages: list[Any] = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return messages

    def look(self) -> list[dict[str, Any]]:
        """Return everything that the functions have noted so far."""
        while messages := self.take("Journal"):
            self.notes += [json.loads(message["Body"]) for message in messages]
        return self.notes

    def received(self, message: str) -> list[dict[str, Any]]:
        """Return every delivery of a message: its record, with the time (`at`) and the ids (`batch`) of its batch.

        They are in the order in which they left the queue. A process that has just started may note its delivery late.
        """
        found = [
            {**record, "at": note["start"], "batch": [other["messageId"] for other in note["records"]]}
            for note in self.look()
            for record in note.get("records", [])
            if record["messageId"] == message
        ]
        return sorted(found, key=_receive_count)

    def ended(self, message: str) -> bool:
        return any(message in note.get("ended", []) for note in self.look())

    def left(self, queue: str) -> int:
        """Count the messages of a queue, including those in flight and delayed."""
        attributes: Any = self.sqs.get_queue_attributes(QueueUrl=self.queue(queue), AttributeNames=["All"])[
            "Attributes"
        ]
        return sum(int(attributes[f"ApproximateNumberOfMessages{kind}"]) for kind in ("", "NotVisible", "Delayed"))

    def uploaded(self, key: str) -> list[dict[str, Any]]:
        return [note for note in self.look() if note.get("key") == key]


def _receive_count(record: dict[str, Any]) -> int:
    return int(record["attributes"]["ApproximateReceiveCount"])


def _assert_came_again_after(seconds: float, deliveries: list[dict[str, Any]]) -> None:
    first, second = deliveries[:2]
    assert [_receive_count(first), _receive_count(second)] == [1, 2]
    assert second["at"] - int(first["attributes"]["ApproximateFirstReceiveTimestamp"]) / 1000 > seconds - 0.1


@contextmanager
def _running(data: Path, app: Path = _APP) -> Iterator[_Cloud]:
    cloud = _Cloud.start(app, data)
    try:
        yield cloud
    finally:
        assert cloud.stop() == 0


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Cloud]:
    with _running(tmp_path_factory.mktemp("events")) as cloud:
        yield cloud


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_a_function_gets_the_event_of_sqs(cloud: _Cloud) -> None:
    body = '{"text": "Élodie"}'
    message = cloud.sqs.send_message(
        QueueUrl=cloud.queue("Work"),
        MessageBody=body,
        MessageAttributes={
            "Kind": {"DataType": "String", "StringValue": "test"},
            "Raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        },
    )["MessageId"]
    _until(lambda: bool(cloud.received(message)))
    record, *_ = cloud.received(message)
    attributes = record["attributes"]
    assert record["body"] == body
    assert record["md5OfBody"] == hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
    assert (record["eventSource"], record["awsRegion"]) == ("aws:sqs", "us-east-1")
    assert record["eventSourceARN"] == "arn:aws:sqs:us-east-1:123456789012:Work"
    assert attributes["ApproximateReceiveCount"] == "1"
    assert abs(int(attributes["SentTimestamp"]) / 1000 - time.time()) < _PATIENCE
    assert {"SenderId", "ApproximateFirstReceiveTimestamp"} <= attributes.keys()
    assert record["messageAttributes"] == {
        "Kind": {"stringValue": "test", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
        "Raw": {"binaryValue": "AP8=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary"},
    }
    assert record["receiptHandle"]
    _until(lambda: cloud.left("Work") == 0)


def test_a_batch_is_no_larger_than_the_batch_size(cloud: _Cloud) -> None:
    messages = cloud.send("Work", *({"n": n} for n in range(20)))
    _until(lambda: all(map(cloud.ended, messages)))
    assert max(len(cloud.received(message)[0]["batch"]) for message in messages) <= 3


def test_a_batching_window_gathers_more_than_one_call_gives(cloud: _Cloud) -> None:
    url = cloud.queue("Reported")

    def sizes() -> list[int]:
        batches = [note["records"] for note in cloud.look() if note.get("function") == "Partial" and "records" in note]
        return [len(batch) for batch in batches if "n" in batch[0]["told"]]

    # Try again if this machine takes longer than the window to send the second ten.
    for sent in range(20, 200, 20):
        for start in (0, 10):
            entries = [{"Id": str(n), "MessageBody": json.dumps({"n": start + n})} for n in range(10)]
            cloud.sqs.send_message_batch(QueueUrl=url, Entries=entries)  # type: ignore[arg-type]
        _until(lambda sent=sent: sum(sizes()) >= sent)  # type: ignore[misc]
        if max(sizes()) > 10:
            break
    assert max(sizes()) > 10


def test_only_the_messages_that_failed_come_again_after_the_visibility_timeout(cloud: _Cloud) -> None:
    good, bad, other = cloud.send("Reported", {}, {"do": "fail"}, {})
    _until(lambda: len(cloud.received(bad)) >= 2)
    _assert_came_again_after(_REPORTED_VISIBILITY, cloud.received(bad))
    assert [len(cloud.received(message)) for message in (good, other)] == [1, 1]
    cloud.sqs.purge_queue(QueueUrl=cloud.queue("Reported"))


def test_a_malformed_report_leaves_the_whole_batch(cloud: _Cloud) -> None:
    (message,) = cloud.send("Reported", {"do": "misreport"})
    _until(lambda: len(cloud.received(message)) >= 2)
    # Not a purge: SQS refuses one less than a minute after the last.
    handle = cloud.received(message)[-1]["receiptHandle"]
    cloud.sqs.delete_message(QueueUrl=cloud.queue("Reported"), ReceiptHandle=handle)


@pytest.mark.parametrize("told", [{"do": "fail"}, {"do": "hang"}])
def test_a_message_that_always_fails_ends_in_the_dead_letter_queue(cloud: _Cloud, told: dict[str, Any]) -> None:
    (message,) = cloud.send("Work", told)
    found: list[dict[str, Any]] = []

    def dead() -> bool:
        # There may be letters of other tests, if a slow machine handled a message too late.
        found.extend(letter for letter in cloud.take("DeadLetters") if letter["MessageId"] == message)
        return bool(found)

    _until(dead)
    assert [letter["Body"] for letter in found] == [json.dumps(told)]
    _until(lambda: len(cloud.received(message)) == 2)
    _assert_came_again_after(_WORK_VISIBILITY, cloud.received(message))
    assert cloud.left("Work") == 0


def test_as_many_batches_run_at_a_time_as_allowed_and_no_more(cloud: _Cloud, tmp_path: Path) -> None:
    messages = cloud.send("Few", *[{"do": "meet", "folder": str(tmp_path), "number": 2}] * 6)
    _until(lambda: all(map(cloud.ended, messages)))
    starts = [(cloud.received(message)[0]["at"], 1) for message in messages]
    ends = [(note["end"], -1) for note in cloud.look() if set(note.get("ended", [])) & set(messages)]
    running = most = 0
    for _, change in sorted(starts + ends):
        running += change
        most = max(most, running)
    assert most == 2


def test_a_disabled_consumer_leaves_its_queue_alone_and_a_delay_is_kept(cloud: _Cloud) -> None:
    sent = time.monotonic()
    cloud.send("Unread", {})
    _until(lambda: bool(cloud.take("Unread")))
    assert time.monotonic() - sent >= 0.9


def test_sending_and_deleting_at_once_loses_nothing(cloud: _Cloud) -> None:
    entries = [{"Id": str(n), "MessageBody": "{}"} for n in range(10)]
    sent = [
        message["MessageId"]
        for _ in range(15)
        for message in cloud.sqs.send_message_batch(QueueUrl=cloud.queue("Work"), Entries=entries)["Successful"]  # type: ignore[arg-type]
    ]
    _until(lambda: all(map(cloud.ended, sent)))
    _until(lambda: cloud.left("Work") == 0)


def test_an_event_reaches_the_queue_of_its_rule(cloud: _Cloud) -> None:
    cloud.send("Work", {"do": "announce"})
    found: list[dict[str, Any]] = []

    def announced() -> bool:
        found.extend(json.loads(message["Body"]) for message in cloud.take("Announced"))
        return bool(found)

    _until(announced)
    assert [(event["source"], event["detail-type"]) for event in found] == [("test", "wanted")]


def _changes(cloud: _Cloud, function: str, prefix: str) -> list[list[dict[str, Any]]]:
    """Return the batches that a function got with changes of things whose ids begin with a prefix."""
    batches = [note["changes"] for note in cloud.look() if note.get("function") == function and "changes" in note]
    return [batch for batch in batches if any(_thing(change).startswith(prefix) for change in batch)]


def _thing(change: dict[str, Any]) -> str:
    return str(change["dynamodb"]["Keys"]["id"]["S"])


def _put(cloud: _Cloud, *ids: str) -> None:
    things = [{"PutRequest": {"Item": {"id": {"S": thing}, "name": {"S": "é"}}}} for thing in ids]
    cloud.dynamodb.batch_write_item(RequestItems={"Things": things})  # type: ignore[dict-item]


def test_a_function_gets_the_changes_of_a_table(cloud: _Cloud) -> None:
    _put(cloud, "first")
    update: Any = {"UpdateExpression": "SET #n = :n", "ExpressionAttributeNames": {"#n": "name"}}
    cloud.dynamodb.update_item(
        TableName="Things", Key={"id": {"S": "first"}}, ExpressionAttributeValues={":n": {"S": "f"}}, **update
    )
    cloud.dynamodb.delete_item(TableName="Things", Key={"id": {"S": "first"}})
    _until(lambda: sum(map(len, _changes(cloud, "Follow", "first"))) == 3)
    changes = [change for batch in _changes(cloud, "Follow", "first") for change in batch]
    assert [change["eventName"] for change in changes] == ["INSERT", "MODIFY", "REMOVE"]
    assert len({change["eventID"] for change in changes}) == 3
    updated = changes[1]
    assert updated["dynamodb"]["NewImage"] == {"id": {"S": "first"}, "name": {"S": "f"}}
    assert updated["dynamodb"]["OldImage"] == {"id": {"S": "first"}, "name": {"S": "é"}}
    assert abs(updated["dynamodb"]["ApproximateCreationDateTime"] - time.time()) < _PATIENCE
    assert (updated["eventSource"], updated["awsRegion"]) == ("aws:dynamodb", "us-east-1")


def test_changes_come_again_from_the_first_that_failed_until_they_are_given_up(cloud: _Cloud) -> None:
    _put(cloud, "good-p1", "bad-p", "good-p2")

    def batches() -> list[list[str]]:
        return [list(map(_thing, batch)) for batch in _changes(cloud, "Follow", "bad-p")]

    _until(lambda: len(batches()) == 4)
    _put(cloud, "end-p")
    _until(lambda: bool(_changes(cloud, "Follow", "end-p")))
    # First the whole batch, then its rest and two repetitions of that, without the good change from before.
    assert [batch[0] for batch in batches()[1:]] == ["bad-p"] * 3
    assert len(batches()) == 4
    assert [list(map(_thing, batch)) for batch in _changes(cloud, "Follow", "end-p")] == [["end-p"]]


def test_a_batch_that_fails_is_halved_until_the_bad_change_is_alone_and_told(cloud: _Cloud) -> None:
    good = {f"good-h{index}" for index in range(8)}
    _put(cloud, *sorted(good), "bad-h")

    def handled() -> set[str]:
        batches = [set(map(_thing, batch)) for batch in _changes(cloud, "Halve", "good-h")]
        return {thing for batch in batches if not any(thing.startswith("bad") for thing in batch) for thing in batch}

    found: list[dict[str, Any]] = []

    def told() -> list[dict[str, Any]]:
        found.extend(json.loads(message["Body"]) for message in cloud.take("Lost"))
        numbers = [_number(batch, "bad-h") for batch in _changes(cloud, "Halve", "bad-h")]
        return [letter for letter in found if letter["DDBStreamBatchInfo"]["startSequenceNumber"] in numbers]

    _until(lambda: bool(told()))
    _until(lambda: handled() >= good)
    (letter,) = told()
    assert letter["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert letter["requestContext"]["functionArn"].endswith(":function:Halve")
    assert letter["DDBStreamBatchInfo"]["batchSize"] == 1


def _number(batch: list[dict[str, Any]], thing: str) -> str:
    return next(str(change["dynamodb"]["SequenceNumber"]) for change in batch if _thing(change) == thing)


def test_changes_made_while_nothing_runs_are_handled_once_at_the_next_start(tmp_path: Path) -> None:
    with _running(tmp_path) as cloud:
        _put(cloud, "before")
        _until(lambda: bool(_changes(cloud, "Follow", "before")))
        # The position is kept only when the batch is over.
        _until(lambda: len(list((tmp_path / "streams").glob("*.json"))) == 2)
    with _running(tmp_path) as cloud:
        _put(cloud, "after")
        _until(lambda: bool(_changes(cloud, "Follow", "after")))
        assert not _changes(cloud, "Follow", "before")


def test_names_and_endpoints_are_the_local_ones(cloud: _Cloud) -> None:
    environment = httpx.post(f"{cloud.url}/open", timeout=_PATIENCE).json()
    endpoints = json.loads((cloud.data / "endpoints.json").read_text())
    services = ("", "_EVENTBRIDGE", "_S3", "_SQS")
    assert {environment[f"AWS_ENDPOINT_URL{service}"] for service in services} == {endpoints["aws"]}
    assert environment["AWS_ENDPOINT_URL_DYNAMODB"] == endpoints["dynamodb"]
    names = ("BUCKET", "BUCKET_ARN", "BUS", "BUS_NAME", "QUEUE_NAME")
    assert [environment[name] for name in names] == ["importbucket", "arn:aws:s3:::importbucket", "Bus", "Bus", "Work"]
    assert endpoints["outputs"]["QueueUrl"].endswith("/123456789012/Work")


@pytest.mark.parametrize("size", [0, 100, 20 * 1024 * 1024])
def test_a_dropped_file_is_imported_once_and_its_report_appears(cloud: _Cloud, size: int) -> None:
    name = f"a folder/+{size} é.csv"
    dropped = cloud.data / "import-bucket" / "imports" / name
    dropped.parent.mkdir(exist_ok=True)
    with dropped.open("wb") as output:
        output.truncate(size)
    report = cloud.data / "import-bucket" / "reports" / name / "summary.json"
    _until(report.exists)
    assert json.loads(report.read_text()) == {"size": size}
    (uploaded,) = cloud.uploaded(f"imports/{name}")
    assert uploaded["size"] == size
    assert uploaded["event"] == f"ObjectCreated:{'CompleteMultipartUpload' if size else 'Put'}"


def test_a_changed_file_is_imported_again_and_its_report_replaced(cloud: _Cloud) -> None:
    dropped = cloud.data / "import-bucket" / "imports" / "changing.csv"
    report = cloud.data / "import-bucket" / "reports" / "changing.csv" / "summary.json"
    dropped.write_text("a")
    _until(report.exists)
    dropped.write_text("abc")
    _until(lambda: json.loads(report.read_text()) == {"size": 3})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whether somebody writes to a file")
def test_a_file_is_not_imported_while_it_is_written(cloud: _Cloud) -> None:
    folder = cloud.data / "import-bucket" / "imports"
    with (folder / "slow.csv").open("w") as output:
        output.write("first ")
        output.flush()
        # The writer pauses for longer than the folder waits.
        for number in range(2):
            (folder / f"quick{number}.csv").write_text("a")
            _until(lambda number=number: bool(cloud.uploaded(f"imports/quick{number}.csv")))  # type: ignore[misc]
        output.write("second")
    _until(lambda: bool(cloud.uploaded("imports/slow.csv")))
    assert [note["size"] for note in cloud.uploaded("imports/slow.csv")] == [len("first second")]


def test_a_hidden_file_is_left_alone(cloud: _Cloud) -> None:
    folder = cloud.data / "import-bucket" / "imports"
    (folder / ".hidden.csv").write_text("a")
    (folder / "shown.csv").write_text("a")
    _until(lambda: bool(cloud.uploaded("imports/shown.csv")))
    assert not cloud.uploaded("imports/.hidden.csv")


def test_a_link_in_the_inbox_is_not_followed_out_of_it(cloud: _Cloud, tmp_path: Path) -> None:
    folder = cloud.data / "import-bucket" / "imports"
    secret = tmp_path / "secret.csv"
    secret.write_text("secret")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "inner.csv").write_text("secret")
    (folder / "aside").mkdir()
    (folder / "aside" / "own.csv").write_text("own")
    (folder / "out.csv").symlink_to(secret)
    (folder / "out-of-a-folder.csv").symlink_to("../../token")
    (folder / "folder-out").symlink_to(tmp_path / "secrets")
    (folder / "within.csv").symlink_to("aside/own.csv")
    (folder / "last.csv").write_text("a")
    _until(lambda: bool(cloud.uploaded("imports/within.csv") and cloud.uploaded("imports/last.csv")))
    for name in ("out.csv", "out-of-a-folder.csv", "folder-out/inner.csv"):
        assert not cloud.uploaded(f"imports/{name}"), name


def test_a_report_is_not_written_through_a_link_to_another_folder(cloud: _Cloud, tmp_path: Path) -> None:
    reports = cloud.data / "import-bucket" / "reports"
    (reports / "elsewhere").symlink_to(tmp_path)
    for key in ("reports/elsewhere/summary.json", "reports/elsewhere/deeper/summary.json", "reports/afterwards.json"):
        cloud.s3.put_object(Bucket="importbucket", Key=key, Body=b"x")
    _until((reports / "afterwards.json").exists)
    assert not list(tmp_path.iterdir())


def test_a_report_stays_in_its_folder(cloud: _Cloud) -> None:
    for key in ("reports/../../escaped", "reports/x/../../../escaped", "reports/after.json"):
        cloud.s3.put_object(Bucket="importbucket", Key=key, Body=b"x")
    _until((cloud.data / "import-bucket" / "reports" / "after.json").exists)
    assert not list(cloud.data.parent.rglob("escaped"))


def test_a_restart_imports_what_is_still_there_again(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        cloud = _Cloud.start(_APP, tmp_path)
        try:
            (tmp_path / "import-bucket" / "imports" / "kept.csv").write_text("abc")
            _until(lambda cloud=cloud: bool(cloud.uploaded("imports/kept.csv")))  # type: ignore[misc]
        finally:
            cloud.stop(number)


def _copy_app(folder: Path) -> None:
    shutil.copytree(_APP, folder)
    (folder / "layer").symlink_to(_ROOT / "layers" / "customers")
    template = folder / "template.yaml"
    template.write_text(template.read_text().replace("../../../layers/customers", "layer"))


def test_services_that_die_come_back_with_everything(tmp_path: Path) -> None:
    with _running(tmp_path) as cloud:
        (tmp_path / "import-bucket" / "imports" / "kept.csv").write_text("abc")
        report = tmp_path / "import-bucket" / "reports" / "kept.csv" / "summary.json"
        _until(report.exists)
        report.unlink()
        port = cloud.sqs.meta.endpoint_url.rpartition(":")[2]
        (server,) = [pid for pid in _descendants(cloud.process.pid) if f" {port} " in _command(pid)]
        os.kill(server, signal.SIGKILL)
        _until(report.exists)
        (message,) = cloud.send("Work", {})
        _until(lambda: cloud.ended(message))


def test_no_file_is_missed_while_services_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(_APP / "template.yaml", {}, tmp_path, _ROOT / "node_modules", url="", in_memory=True)
    with closing(cloud):
        services = cloud._services  # noqa: SLF001 - to die at the worst moment
        assert services is not None
        s3, calls = services.s3, []
        configure = s3.put_bucket_notification_configuration

        def configure_late(**arguments: Any) -> None:
            calls.append(arguments)
            if len(calls) == 1:
                raise ConnectionClosedError(endpoint_url="services")
            drop("new.csv")
            _until(lambda: s3.list_objects_v2(Bucket="importbucket", Prefix="imports/new.csv")["KeyCount"] == 1)
            configure(**arguments)

        def drop(name: str) -> Path:
            (tmp_path / "import-bucket" / "imports" / name).write_text("abc")
            return tmp_path / "import-bucket" / "reports" / name / "summary.json"

        kept = drop("kept.csv")
        _until(kept.exists)
        kept.unlink()
        monkeypatch.setattr(s3, configure.__name__, configure_late)
        process = services._process  # noqa: SLF001
        assert process is not None
        process.kill()
        _until(kept.exists)
        _until(kept.parents[1].joinpath("new.csv", "summary.json").exists)
    assert len(calls) == 2


def _command(pid: int) -> str:
    return subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], check=False, capture_output=True, text=True
    ).stdout.strip()


def test_changed_code_handles_the_next_message(tmp_path: Path) -> None:
    app = tmp_path / "app"
    _copy_app(app)
    template = app / "template.yaml"
    text = template.read_text()
    with _running(tmp_path / "data", app) as cloud:

        def greeting() -> str:
            (message,) = cloud.send("Work", {})
            _until(lambda: bool(cloud.received(message)))
            return next(str(note["greeting"]) for note in cloud.look() if message in str(note.get("records")))

        assert greeting() == "hello"
        code = app / "functions" / "work" / "app.py"
        code.write_text(code.read_text().replace('"hello"', '"good morning"'))
        _until(lambda: greeting() == "good morning")
        # A queue that is added to the template is there and is consumed without a restart.
        added = "  More:\n    Type: AWS::SQS::Queue\n  Few:\n"
        template.write_text(text.replace("  Few:\n", added).replace("!GetAtt Few.Arn", "!GetAtt More.Arn"))
        _until(lambda: "More" in str(cloud.sqs.list_queues()))
        (message,) = cloud.send("More", {})
        _until(lambda: cloud.ended(message))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_running(tmp_path: Path, number: int) -> None:
    cloud = _Cloud.start(_APP, tmp_path)
    cloud.send("Few", {"do": "hang"})
    _until(lambda: any(note.get("function") == "Narrow" for note in cloud.look()))
    children = _descendants(cloud.process.pid)
    assert len(children) >= 3
    assert cloud.stop(number, _STOP_SECONDS) == (-number if number == signal.SIGKILL else 0)
    _until(lambda: not any(map(_runs, children)))


def _descendants(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
    pairs = (line.split() for line in found.splitlines())
    parents = {int(child): int(parent) for child, parent in pairs}
    direct = [child for child, parent in parents.items() if parent == pid]
    return direct + [grandchild for child in direct for grandchild in _descendants(child)]


def _runs(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], check=False, capture_output=True, text=True).stdout
    return bool(state.strip()) and not state.startswith("Z")


@pytest.mark.parametrize(
    ("result", "failed"),
    [
        ("null", set()),
        ("{}", set()),
        ('{"batchItemFailures": null}', set()),
        ('{"batchItemFailures": []}', set()),
        ('{"batchItemFailures": [{"itemIdentifier": "a"}]}', {"a"}),
        ('{"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "x"}]}', None),
        ('{"batchItemFailures": [{"itemIdentifier": ""}]}', None),
        ('{"batchItemFailures": [{"itemIdentifier": null}]}', None),
        ('{"batchItemFailures": [{"itemIdentifier": ["a"]}]}', None),
        ('{"batchItemFailures": [{"id": "a"}]}', None),
        ('{"batchItemFailures": ["a"]}', None),
        ('{"batchItemFailures": "a"}', None),
        ('"text"', None),
    ],
)
def test_a_report_is_read_as_lambda_reads_it(result: str, failed: set[str] | None) -> None:
    assert failed_messages(result.encode(), {"a", "b"}) == failed


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("BatchSize: 3", "BatchSize: 30", "MaximumBatchingWindowInSeconds"),
        ("VisibilityTimeout: 2", "VisibilityTimeout: 1", "less than the Timeout"),
        ("BatchSize: 3", "FilterCriteria: {Filters: []}", "FilterCriteria"),
        ("!GetAtt DeadLetters.Arn", "arn:aws:sqs:us-east-1:123456789012:Elsewhere", "dead-letter queue"),
        ("DelaySeconds: 1", "FifoQueue: true", "standard queues"),
        ("BatchSize: 10\n            Bisect", "TumblingWindowInSeconds: 9\n            Bisect", "TumblingWindow"),
        ("!GetAtt Lost.Arn", "arn:aws:sns:us-east-1:123456789012:Lost", "of a stream"),
        ("!GetAtt Few.Arn", "arn:aws:sqs:us-east-1:123456789012:Else", "of the template only"),
        ("QueueConfigurations:", "TopicConfigurations:", "TopicConfigurations"),
        ("- Id: queue\n          Arn: !GetAtt Announced.Arn", "- {Id: f, Arn: !GetAtt Whole.Arn}", "to queues only"),
    ],
)
def test_what_cannot_be_served_as_on_aws_is_an_error(tmp_path: Path, old: str, new: str, message: str) -> None:
    _copy_app(tmp_path / "app")
    template = tmp_path / "app" / "template.yaml"
    text = template.read_text()
    assert old in text
    template.write_text(text.replace(old, new))
    with pytest.raises(TemplateError, match=message):
        read_stack(Template(template, {}, stack_id="x"))


def test_a_template_without_events_needs_no_services() -> None:
    stack = read_stack(Template(_APP.with_name("local_app") / "template.yaml", {}, stack_id="x"))
    assert not stack.events
