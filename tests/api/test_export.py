"""`./customers export`: every customer once, in a file that changes nothing when it is imported again."""

from __future__ import annotations

import csv
import json
import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.support import Json, create, create_list, customer_body, group_path, path_of, walk
from tests.api.test_command_line import _customers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx

    from tests.api.conftest import Tables
    from tests.conftest import Service

PEOPLE: list[dict[str, Any]] = [
    {"metadata": {"tier": "gold", "empty": "", "spaced": " x "}, "age": 0},
    {"first_name": '"Jo", Élodie', "last_name": "=1+1"},
    {"metadata": {"other": 'say "hi", twice'}},
    {"email": "münchen@example.com", "age": 41},
]


@pytest.fixture
def people(client: httpx.Client, group: int) -> list[Json]:
    made = [create(client, group, **{"last_name": f"Doe {number}", **person}) for number, person in enumerate(PEOPLE)]
    keyed = client.put(f"/api/customers/external/key-{group}", json=customer_body(group)).json()
    return [*made, keyed]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_export_that_is_imported_unchanged_changes_nothing(  # noqa: PLR0913, PLR0917 (fixtures)
    form: str, service: Service, client: httpx.Client, group: int, people: list[Json], tmp_path: Path
) -> None:
    file = tmp_path / f"all.{form}"
    done = _customers(service.data, "export", "--group", str(group), "--format", form, "-o", file)
    assert done.returncode == 0, done.stderr
    assert "5 customers" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = _customers(service.data, "import", "--json", file)
    summary = json.loads(again.stdout)
    assert (summary["unchanged"], summary["rows"], again.returncode) == (5, 5, 0)
    assert walk(client, group, age="true") == sorted(people, key=lambda person: person["id"])


def test_an_edited_export_changes_what_was_edited_and_nobody_elses_changes(
    service: Service, client: httpx.Client, group: int, people: list[Json], tmp_path: Path
) -> None:
    file = tmp_path / "all.csv"
    _customers(service.data, "export", "--group", str(group), "-o", file)
    with file.open(encoding="utf-8-sig", newline="") as opened:
        rows = list(csv.DictReader(opened))
    edited = {rows[0]["id"], rows[1]["id"]}
    assert all(row["id"].startswith("C-") for row in rows)
    other = int(rows[1]["id"][2:])
    assert client.patch(f"/api/customers/{other}", json={"age": 99}).status_code == 200
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, **({"last_name": "Edited"} if row["id"] in edited else {})} for row in rows[:2])
    done = _customers(service.data, "import", "--json", file)
    summary = json.loads(done.stdout)
    assert (summary["updated"], summary["rejected"], done.returncode) == (1, 1, 1)
    after = {person["id"]: person for person in walk(client, group, age="true")}
    assert (after[int(rows[0]["id"][2:])]["last_name"], after[other]["age"]) == ("Edited", 99)
    assert len(after) == len(people)


def test_all_customers_are_exported_to_the_output_with_a_token_that_may(
    service: Service, client: httpx.Client, group: int, people: list[Json], tables: Tables
) -> None:
    done = _customers(service.data, "export", "--format", "jsonl")
    exported = [json.loads(line) for line in done.stdout.splitlines()]
    ids = [customer["id"] for customer in exported]
    assert len(set(ids)) == len(ids)
    assert [customer for customer in exported if customer["group_id"] == group] != []
    assert {person["id"] for person in people} <= set(ids)
    token = tables.new_token(["customers:read"])
    refused = _customers(service.data, "export", CUSTOMERS_TOKEN=token)
    assert refused.returncode == 1
    assert "customers:export" in refused.stderr
    assert client.get(path_of(people[0])).status_code == 200


def test_an_export_that_cannot_go_on_says_how_to_begin_anew(
    service: Service, tmp_path: Path, group: int, people: list[Json]
) -> None:
    assert people
    file, part = tmp_path / "all.csv", tmp_path / ".all.csv.part"
    page = {"url": f"{service.url}{group_path(group)}", "customers": [], "next_cursor": "of another service"}
    part.write_text(json.dumps(page) + "\n")
    done = _customers(service.data, "export", "--group", str(group), "-o", file)
    assert (done.returncode, f"Delete {part}, and run the command again." in done.stderr) == (1, True)
    part.unlink()
    assert _customers(service.data, "export", "--group", str(group), "-o", file).returncode == 0


def test_an_interrupted_export_goes_on_where_it_was(
    service: Service, client: httpx.Client, group: int, tmp_path: Path
) -> None:
    made = create_list(client, [customer_body(group, age=number) for number in range(9)])
    page = client.get(group_path(group), params={"limit": 4, "age": "true"}).json()
    file = tmp_path / "some.jsonl"
    url = f"{service.url}/api/customers/group/{group}/"
    kept = json.dumps({"url": url, **page})
    # The last line was being written when the command ended.
    (tmp_path / ".some.jsonl.part").write_text(f"{kept}\n{kept[:50]}")
    done = _customers(service.data, "export", "--group", str(group), "--format", "jsonl", "-o", file)
    assert done.returncode == 0, done.stderr
    exported = [json.loads(line) for line in file.read_text().splitlines()]
    assert exported == sorted(made, key=lambda customer: customer["id"])


@pytest.mark.parametrize("why", ["all was read", "it is old"])
def test_an_export_that_may_be_outdated_is_not_continued(
    why: str, service: Service, group: int, people: list[Json], tmp_path: Path
) -> None:
    file, part = tmp_path / "some.jsonl", tmp_path / ".some.jsonl.part"
    page = {"url": f"{service.url}/api/customers/group/{group}/", "customers": [{**people[0], "last_name": "Old"}]}
    part.write_text(json.dumps({**page, "next_cursor": None if why == "all was read" else "a cursor"}) + "\n")
    if why == "it is old":
        os.utime(part, (time.time() - 3700,) * 2)
    done = _customers(service.data, "export", "--group", str(group), "--format", "jsonl", "-o", file)
    assert done.returncode == 0, done.stderr
    exported = {json.loads(line)["id"]: json.loads(line) for line in file.read_text().splitlines()}
    assert exported == {person["id"]: person for person in people}
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_an_export_that_fails_leaves_the_one_before_it(service: Service, group: int, tmp_path: Path) -> None:
    file = tmp_path / "some.csv"
    file.write_text("the one before")
    done = _customers(service.data, "export", "--group", str(group), "-o", file, CUSTOMERS_TOKEN="cust_wrong")
    assert (done.returncode, file.read_text()) == (1, "the one before")
    assert not (tmp_path / ".some.csv.new").exists()
    assert "The API answered 401" in done.stderr
    assert "CUSTOMERS_TOKEN" in done.stderr


def test_an_export_may_go_through_a_link_or_into_what_is_no_file(
    service: Service, group: int, people: list[Json], tmp_path: Path
) -> None:
    file, link, pipe = tmp_path / "real.csv", tmp_path / "link.csv", tmp_path / "pipe"
    link.symlink_to(file)
    assert _customers(service.data, "export", "--group", str(group), "-o", link).returncode == 0
    assert (link.is_symlink(), len(file.read_text().splitlines())) == (True, len(people) + 1)
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as threads:
        text = threads.submit(pipe.read_bytes)
        assert _customers(service.data, "export", "--group", str(group), "-o", pipe).returncode == 0
        assert text.result(30) == file.read_bytes()
    assert pipe.is_fifo()


@pytest.mark.parametrize("token", ["a b", "\u201cabc\u201d", "a\rb"])
def test_what_is_no_token_is_told_without_it(token: str, service: Service) -> None:
    done = _customers(service.data, "export", CUSTOMERS_TOKEN=token)
    assert done.returncode == 1
    assert done.stderr == (
        "Error: What is in CUSTOMERS_TOKEN is no token: it has spaces, quotes or other characters.\n"
    )


@contextmanager
def _another_service(data: Path, answer: Callable[[BaseHTTPRequestHandler, list[str]], None]) -> Iterator[list[str]]:
    """Run a service that answers as it is told, found by a data folder. Yield the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer(self, asked)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        running = {"url": url, "dynamodb": url, "aws": url, "outputs": {}}
        (data / "endpoints.json").write_text(json.dumps(running))
        (data / "token").write_text("cust_secret")
        try:
            yield asked
        finally:
            server.shutdown()


def test_an_answer_that_is_cut_off_is_asked_for_again(tmp_path: Path) -> None:
    body = json.dumps({"customers": [], "next_cursor": None}).encode()

    def first_cut_off(handler: BaseHTTPRequestHandler, asked: list[str]) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body if len(asked) > 1 else body[:9])

    with _another_service(tmp_path, first_cut_off) as asked:
        done = _customers(tmp_path, "export", "--format", "jsonl")
    assert (done.returncode, done.stdout, len(asked)) == (0, "", 2)


def test_a_group_without_customers_is_an_empty_file(service: Service, group: int) -> None:
    done = _customers(service.data, "export", "--group", str(group))
    assert done.returncode == 0
    assert done.stdout.strip("\ufeff").splitlines() == [
        "id,external_id,first_name,last_name,email,group_id,age,created_at,updated_at,version"
    ]


def test_no_redirect_takes_the_token_anywhere(tmp_path: Path) -> None:
    def elsewhere(handler: BaseHTTPRequestHandler, _: list[str]) -> None:
        handler.send_response(302)
        handler.send_header("Location", "/elsewhere")
        handler.end_headers()

    with _another_service(tmp_path, elsewhere) as asked:
        done = _customers(tmp_path, "export")
    assert done.returncode == 1
    assert "The API answered 302" in done.stderr
    assert asked == ["/api/customers/?limit=1000&cursor="]
