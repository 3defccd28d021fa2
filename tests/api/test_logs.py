"""A full run of the service at its most talkative: what logs, events and tables contain, and what they must not."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import environ
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import httpx
import pytest

from customers.tokens import new_token
from tests.api.support import COLLECTION, MAX_ID, customer_body, group_path, path_of, wait_until
from tests.conftest import ROOT, STOP_SECONDS, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.api.conftest import Tables

PATIENCE = 40.0


@dataclass
class Story:
    """What was sent, and what came back."""

    words: list[str] = field(default_factory=list)
    """Every name, address, token and key. None of them is part of an ordinary word."""
    answers: list[httpx.Response] = field(default_factory=list)
    events: list[tuple[str, int]] = field(default_factory=list)
    """Detail types and ids of the changes that took place, in order for each customer."""

    def word(self, text: str = "") -> str:
        """Make up a word, and remember it."""
        self.words.append(f"{text}{secrets.token_hex(6)}")
        return self.words[-1]

    def person(self, group: int, **fields: object) -> dict[str, Any]:
        email = f"{self.word('mail')}@{self.word('host')}.example"
        names = {"first_name": self.word("Élodie"), "last_name": self.word("O'Hara ")}
        return customer_body(group, **names, email=email, **fields)


class Told(NamedTuple):
    """The end of a run: its story, everything that was written about it, by file, and the events."""

    story: Story
    logs: dict[str, str]
    events: list[dict[str, Any]]
    tables: dict[str, str]
    """All items of each table, after every customer was deleted."""

    def lines(self, message: str) -> list[dict[str, Any]]:
        """Return the structured lines of all functions that have this message."""
        lines = [line for name, text in self.logs.items() if name[0].isupper() for line in text.splitlines()]
        parsed = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in parsed if line["message"] == message]


@contextmanager
def _talkative_service(data: Path) -> Iterator[Service]:
    """Run the service at the level DEBUG, with its own output in files beside its logs."""
    (data / "logs").mkdir()
    command = [sys.executable, "-m", "local", "--parameter", "LogLevel=DEBUG"]
    out, errors = data / "logs" / "stdout", data / "logs" / "stderr"
    environment = {**environ, "DATA_DIR": str(data), "PORT": "0"}
    with (
        out.open("w") as output,
        errors.open("w") as error_output,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=error_output, text=True) as process,
    ):
        try:
            wait_until(lambda: "ready" in out.read_text() or process.poll() is not None, PATIENCE)
            url = out.read_text().rpartition("ready")[2].split()[0]
            yield Service(url, (data / "token").read_text().strip(), data, process)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            finally:
                process.kill()


def _call(service: Service, story: Story, tables: Tables) -> None:
    """Call every endpoint, both correctly and incorrectly."""
    group = secrets.randbelow(MAX_ID) + 1
    story.words.append(service.token)
    with httpx.Client(base_url=service.url, timeout=PATIENCE) as client:

        def send(method: str, path: str, *, token: str = service.token, **rest: Any) -> httpx.Response:
            headers = {"Authorization": f"Bearer {token}", **rest.pop("headers", {})}
            story.answers.append(client.request(method, path, headers=headers, **rest))
            return story.answers[-1]

        key = {"Idempotency-Key": story.word("key-")}
        body = story.person(group)
        created = [send("POST", COLLECTION, json=body, headers=key).json()]
        assert send("POST", COLLECTION, json=body, headers=key).headers["Idempotency-Replayed"] == "true"
        assert send("POST", COLLECTION, json=story.person(group), headers=key).status_code == 422
        bad = story.person(group, age=story.word("old"), **{story.word("field"): 1})
        rows = [story.person(group), bad]
        kept = send("POST", COLLECTION, params={"size": "list", "on_error": "keep"}, json={"customers": rows})
        created.append(kept.json()["results"][0]["customer"])
        assert send("POST", COLLECTION, params={"size": "list"}, json={"customers": rows}).status_code == 400
        assert send("POST", COLLECTION, params={"dry_run": "true"}, json=story.person(group)).status_code == 200
        assert send("POST", COLLECTION, content=b'{"first_name": "' + story.word("cut").encode()).status_code == 400
        assert send("POST", COLLECTION, content=b"\xff" + story.word("bytes").encode()).status_code == 400

        jane, joan = created
        assert send("PATCH", path_of(jane), json={"first_name": story.word("Jané")}).status_code == 200
        assert send("PATCH", path_of(jane), json={"email": story.word("no address")}).status_code == 400
        assert send("PATCH", path_of(jane), json={"age": 1}, headers={"If-Match": '"1"'}).status_code == 412
        assert send("GET", path_of(jane)).status_code == 200
        assert send("GET", path_of(jane), params={"email": story.word("q")}).status_code == 400
        for sort in ("email", "last_name"):
            page = send("GET", group_path(group), params={"sort": sort, "limit": 1}).json()
            story.words.append(page["next_cursor"])
            assert send(
                "GET", group_path(group), params={"sort": sort, "limit": 1, "cursor": page["next_cursor"]}
            ).is_success
        assert send("GET", f"/api/customers/{story.word('name')}").status_code == 404
        assert send("PUT", path_of(jane), json=story.person(group)).status_code == 404
        assert send("DELETE", path_of(joan)).status_code == 200
        assert send("DELETE", path_of(joan)).status_code == 404

        reader, over = tables.new_token(["customers:read"]), tables.new_token(expires_at=1)
        story.words += [reader, over, new_token(), "x" + new_token()]
        assert send("DELETE", path_of(jane), token=reader).status_code == 403
        for token in story.words[-3:]:
            assert send("GET", path_of(jane), token=token).status_code == 401
        assert send("DELETE", path_of(jane)).status_code == 200
        assert send("POST", COLLECTION, json=body, headers=key).headers["Idempotency-Replayed"] == "true"

    story.events += [(f"Customer {kind}", jane["id"]) for kind in ("created", "updated", "deleted")]
    story.events += [(f"Customer {kind}", joan["id"]) for kind in ("created", "deleted")]


def _import(service: Service, story: Story) -> None:
    """Import a file with bad rows, a broken file, and messages, one of which is unreadable."""
    group = secrets.randbelow(MAX_ID) + 1
    people = [story.person(group) for _ in range(3)]
    rows = [*people, story.person(group, age=story.word("old")), {**story.person(group), "email": story.word("none")}]
    names = [*customer_body(1), "age"]
    lines = [",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in rows), '"']
    inbox = service.data / "import-bucket" / "imports"
    (inbox / "good.csv").write_text("\n".join(lines))
    (inbox / "wrong.csv").write_text(f"{story.word('column')}\n{story.word('cell')}\n")
    running = json.loads((service.data / "endpoints.json").read_text())
    sqs = boto3.client(
        "sqs",
        endpoint_url=running["aws"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    people.append(story.person(group))
    for message in (json.dumps({"customers": [people[-1], story.person(group, age=-1)]}), story.word("no json")):
        sqs.send_message(QueueUrl=running["outputs"]["ImportQueueUrl"], MessageBody=message)
    reports = service.data / "import-bucket" / "reports"
    wait_until(lambda: len(list(reports.rglob("summary.json"))) == 3, PATIENCE)
    dead = sqs.get_queue_url(QueueName="ImportDeadLetters")["QueueUrl"]
    wait_until(lambda: bool(sqs.receive_message(QueueUrl=dead).get("Messages")), PATIENCE)
    with service.client() as client:
        imported = client.get(group_path(group)).json()["customers"]
        assert len(imported) == len(people)
        for customer in imported:
            assert client.delete(path_of(customer)).is_success
    story.events += [(f"Customer {kind}", each["id"]) for each in imported for kind in ("created", "deleted")]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, tables_of: Callable[[Service], Tables]) -> Told:
    story = Story()
    data = tmp_path_factory.mktemp("talkative")
    with _talkative_service(data) as service:
        tables = tables_of(service)
        _call(service, story, tables)
        _import(service, story)
        file = data / "events.jsonl"

        def all_told() -> bool:
            events = file.read_text().count('"source": "customers"') if file.exists() else 0
            return events >= len(story.events)

        def all_erased() -> bool:
            kept = [item for page in scan.paginate(TableName="HistoryTable") for item in page["Items"]]
            deleted = sum(kind == "Customer deleted" for kind, _ in story.events)
            return [item["action"]["S"] for item in kept] == ["deleted"] * deleted

        wait_until(all_told, PATIENCE)
        scan = tables.client.get_paginator("scan")
        wait_until(all_erased, PATIENCE)
        names = tables.client.list_tables()["TableNames"]
        kept = {name: str([page["Items"] for page in scan.paginate(TableName=name)]) for name in names}
    logs = {path.name: path.read_text() for path in (data / "logs").iterdir()}
    return Told(story, logs, [json.loads(line) for line in file.read_text().splitlines()], kept)


def _found(story: Story, written: dict[str, str]) -> list[tuple[str, str]]:
    """Return the words of a story that appear in a text, also when folded as sort texts are."""
    forms = {form for word in story.words for form in (word, word.casefold(), word.replace("É", "e").casefold())}
    return [(name, form) for name, text in written.items() for form in forms if form in text or form in text.casefold()]


def test_no_log_and_no_event_shows_a_person_a_token_or_a_key(told: Told) -> None:
    assert len(told.story.words) > 60
    assert _found(told.story, {**told.logs, "events": json.dumps(told.events, ensure_ascii=False)}) == []


def test_no_table_shows_a_person_a_token_or_a_key_once_everyone_is_deleted(told: Told) -> None:
    # Of the customers, only tombstones and the salt are left.
    assert '"customer":' not in told.tables["CustomersTable"].replace("'", '"')
    assert "deleted_at" in told.tables["CustomersTable"]
    assert len(told.tables["AnswersTable"]) > 500
    assert len(told.tables["ImportsTable"]) > 1000
    assert "HistoryTable" in told.tables
    assert _found(told.story, told.tables) == []


def test_no_log_has_a_stack_trace_but_what_lambda_writes_for_a_refused_token(told: Told) -> None:
    for name, text in told.logs.items():
        refusals = text.count("\nException: Unauthorized\n") if name == "Authorize.log" else 0
        assert text.count("Traceback") == refusals, name
        assert "exception_name" not in text
    assert "Exception: Unauthorized" in told.logs["Authorize.log"]


def test_every_call_that_reached_a_function_is_one_line_with_its_request_id_and_token_id(told: Told) -> None:
    lines = {line["request_id"]: line for line in told.lines("request")}
    assert len(lines) == len(told.lines("request"))
    answered = {answer.headers["X-Request-Id"]: answer for answer in told.story.answers}
    assert len(answered) == len(told.story.answers)
    # Requests that the gateway itself answers do not reach a function.
    gateway = {
        id_ for id_, answer in answered.items() if answer.status_code in {401, 403} or answer.request.method == "PUT"
    }
    assert answered.keys() - gateway <= lines.keys()
    for request_id in answered.keys() - gateway:
        line = lines[request_id]
        assert line["status"] == answered[request_id].status_code
        assert len(line["token_id"]) == 16
        assert line["Latency"] >= 0
        assert line["route"].partition(" ")[0] == answered[request_id].request.method


def test_a_request_is_logged_with_its_route_and_not_with_its_path(told: Told) -> None:
    assert {line["route"] for line in told.lines("request")} == {
        "POST /api/customers",
        "GET /api/customers/{customer_id}",
        "PATCH /api/customers/{customer_id}",
        "DELETE /api/customers/{customer_id}",
        "GET /api/customers/group/{group_id}",
    }


def test_customers_rows_and_imports_are_counted(told: Told) -> None:
    def total(message: str, name: str) -> int:
        # Two functions may find at the same time that an import is over.
        lines = {line.get("import_id", index): line for index, line in enumerate(told.lines(message))}
        return sum(line.get(name, 0) for line in lines.values())

    kinds = [kind for kind, _ in told.story.events]
    assert total("changes published", "CustomersCreated") == kinds.count("Customer created") == 6
    assert total("changes published", "CustomersUpdated") == 1
    assert total("changes published", "CustomersDeleted") == 6
    assert total("import over", "RowsCreated") == 4
    assert total("import over", "RowsRejected") == 4
    assert total("import over", "ImportsCompleted") == 2
    assert total("import over", "ImportsFailed") == 1
    assert total("cold start", "ColdStarts") >= 5


def test_every_change_is_an_event_once_and_in_its_customers_order(told: Told) -> None:
    changes = [event for event in told.events if event["source"] == "customers"]
    ids = [event["detail"]["event_id"] for event in changes]
    assert len(set(ids)) == len(ids)
    found = [(event["detail-type"], event["detail"]["customer_id"]) for event in changes]
    for customer_id in {customer_id for _, customer_id in told.story.events}:
        own = [kind for kind, other in found if other == customer_id]
        assert own == [kind for kind, other in told.story.events if other == customer_id]
    assert sorted(found) == sorted(told.story.events)
