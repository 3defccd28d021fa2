"""What people see of `./customers`, at a terminal and in scripts."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import pytest

from customers.imports.files.rows import Layout
from customers.imports.store import Counts, ImportStore
from customers.store.tokens import TokenStore
from customers.tokens import new_token, token_hash, token_id
from tests.api.support import Stopped, descendants, wait_until
from tests.conftest import ROOT, running_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.api.conftest import Tables
    from tests.conftest import Service

UNTRUSTED = "[/x] [red]y :smile: \x1b[31mz\u202e"
SHOWN = r"[/x] [red]y :smile: \x1b[31mz\u202e"
SECONDS = 60
"""How long a busy machine may take for a command."""
HEADER = "first_name,last_name,email,group_id"


def _customers(data: Path, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "customers", *arguments],
        env={**os.environ, "DATA_DIR": str(data), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def _file(folder: Path, name: str, *rows: str) -> Path:
    file = folder / name
    file.write_text("\n".join([HEADER, *rows, ""]))
    return file


class Terminal(NamedTuple):
    """A command whose standard error is a terminal."""

    process: subprocess.Popen[str]
    screen: int
    """File descriptor from which to read what it shows there."""

    def _read(self) -> str:
        """Return what it shows next, or nothing if no process has the terminal open any more."""
        readable, _, _ = select.select([self.screen], [], [], SECONDS)
        assert readable, "nothing more was shown"
        try:
            return os.read(self.screen, 4096).decode()
        except OSError:
            # Linux reports this when no process has the terminal open.
            return ""

    def wait_for(self, text: str) -> None:
        """Read until a text is shown."""
        shown = ""
        while text not in shown:
            read = self._read()
            assert read, shown
            shown += read

    def end(self) -> tuple[str, str]:
        """Wait for its end. Return standard output, and what was shown since the last text that was waited for."""
        shown = ""
        deadline = time.monotonic() + SECONDS
        while read := self._read():
            assert time.monotonic() < deadline, "it does not end"
            shown += read
        assert self.process.stdout is not None
        output = self.process.stdout.read()
        self.process.wait(SECONDS)
        return output, shown.replace("\r\n", "\n")


@contextmanager
def _at_a_terminal(data: Path, *arguments: str | Path) -> Iterator[Terminal]:
    screen, other_end = pty.openpty()
    with subprocess.Popen(
        [ROOT / "customers", *arguments],
        env={**os.environ, "DATA_DIR": str(data), "TERM": "xterm", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=other_end,
        text=True,
    ) as process:
        os.close(other_end)
        try:
            yield Terminal(process, screen)
        finally:
            process.kill()
            os.close(screen)


def test_a_service_that_is_killed_is_missed_in_the_middle_of_a_command_and_by_the_next_ones(tmp_path: Path) -> None:
    file = _file(tmp_path, "a.csv", "A,B,a@example.com,1")
    with running_service(tmp_path / "data", "--in-memory") as service:
        with Stopped(service.process.pid), _at_a_terminal(service.data, "import", file) as following:
            following.wait_for("importing a.csv")
            service.process.kill()
            _, shown = following.end()
        assert following.process.returncode == 1
        assert f"Error: The service stopped before {file} was imported. Start it with `make run`" in shown
        for command in (("token", "list"), ("import", str(file)), ("import", "status")):
            started = time.monotonic()
            done = _customers(service.data, *command)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith(f"Error: No service is running in {service.data}. Start it with `make run`")
            assert time.monotonic() - started < 20, "without trying for long"


def test_files_of_the_same_name_at_the_same_time_are_not_taken_for_each_other(service: Service, tmp_path: Path) -> None:
    rows = {"jan": 1, "feb": 2, "mar": 3}
    files = []
    for month, count in rows.items():
        (tmp_path / month).mkdir()
        text = "\n".join(f"A,B,{month}{number}@example.com,1" for number in range(count))
        files.append(_file(tmp_path / month, "new.csv", text))
    with ThreadPoolExecutor(len(files)) as threads:
        answers = list(threads.map(lambda file: _customers(service.data, "import", "--json", file), files))
    imported = 0
    for done, count in zip(answers, rows.values(), strict=True):
        if done.returncode == 0:
            imported += 1
            assert json.loads(done.stdout)["rows"] == count
        else:
            assert "was uploaded at the same time" in done.stderr or '"code": "gone"' in done.stdout, done
    assert imported


def test_a_label_is_shown_as_it_is_and_never_interpreted(
    service: Service, tables_of: Callable[[Service], Tables]
) -> None:
    hashed = token_hash(new_token())
    tables = tables_of(service)
    # What the command line refuses may still be in the table.
    TokenStore(tables.client, tables.tokens).put(hashed, ["customers:read"], UNTRUSTED, None)
    done = _customers(service.data, "token", "list")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if token_id(hashed) in line]
    assert SHOWN in line
    made = _customers(service.data, "token", "create", "--scopes", "read", "--label", "[/nope] :smile:")
    assert made.returncode == 0, made.stderr
    assert "[/nope] :smile:" in _customers(service.data, "token", "list").stdout


def test_what_a_file_contains_is_shown_as_it_is_and_never_interpreted(service: Service, tmp_path: Path) -> None:
    wrong_header = tmp_path / "header [red].csv"
    wrong_header.write_text(f"{HEADER},{UNTRUSTED}\n")
    wrong_field = tmp_path / "[x] :smile:.jsonl"
    wrong_field.write_text(json.dumps({"first_name": "A", UNTRUSTED: 1}) + "\n")
    done = _customers(service.data, "import", wrong_header, wrong_field)
    assert (done.returncode, done.stderr) == (1, "")
    assert "header [red].csv: 0 created" in done.stdout
    assert "[x] :smile:.jsonl: 0 created, 1 rejected" in done.stdout
    assert "[/x] [red]y :smile: " in done.stdout
    assert r"\x1b[31mz\u202e" in done.stdout
    assert "\x1b" not in done.stdout
    listed = _customers(service.data, "import", "status").stdout
    assert "header [red].csv" in listed
    assert "[x] :smile:.jsonl" in listed


def test_a_table_in_a_pipe_has_each_row_on_one_line(service: Service, tmp_path: Path) -> None:
    name = f"{'a long name ' * 15}.csv"
    assert _customers(service.data, "import", _file(tmp_path, name, "A,B,long@example.com,1")).returncode == 0
    assert f" {name} " in _customers(service.data, "import", "status").stdout
    _customers(service.data, "token", "create", "--scopes", "read", "--label", "much to say " * 8)
    assert f" {'much to say ' * 8}" in _customers(service.data, "token", "list").stdout


def test_the_bar_shows_a_file_name_as_it_is(service: Service, tmp_path: Path) -> None:
    file = _file(tmp_path, "[x] :smile:.csv", "A,B,a@example.com,1")
    with _at_a_terminal(service.data, "import", file) as following:
        following.wait_for("[x] :smile:.csv")
        output, _ = following.end()
    assert (following.process.returncode, output) == (0, f"{file}: 1 created\n")


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_import_ends_with_the_first_ten_rejected_rows_and_the_place_of_all(
    service: Service, tmp_path: Path, group: int, form: str
) -> None:
    good = [f"A,B,a{index}@example.com,{group}" for index in range(3)]
    bad = [f"A,B,nobody,{group}", f",B,a@example.com,{group}", f"A,B,nobody,0{'x' * 2000}", *[f"A,B,x,{group}"] * 9]
    rows = [*good, *bad]
    if form == "csv":
        file = _file(tmp_path, f"{group}.csv", *rows)
    else:
        file = tmp_path / f"{group}.jsonl"
        customers = (dict(zip(HEADER.split(","), row.split(","), strict=True)) for row in rows)
        file.write_text("".join(json.dumps({**each, "group_id": group}) + "\n" for each in customers) + "{\n")
        bad.append("{")
    done = _customers(service.data, "import", file)
    assert (done.returncode, done.stderr) == (1, "")
    first, *shown, more, report = done.stdout.splitlines()
    assert first == f"{file}: 3 created, {len(bad)} rejected"
    assert [line.split(":")[0] for line in shown[:2]] == ["  row 4, email", "  row 5, first_name"]
    assert len(shown) == 10
    assert all(line.startswith(f"  row {number}, ") for number, line in enumerate(shown, 4))
    assert more == f"  and {len(bad) - 10} more"
    said, _, place = report.rpartition(": ")
    assert said == "Rejected rows, to correct and import again"
    assert Path(place).is_file()


def test_a_row_that_is_wrong_as_a_whole_and_a_broken_file_are_told_plainly(service: Service, tmp_path: Path) -> None:
    wrong_row = _file(tmp_path, "whole.csv", "A,B,a@example.com,1,more")
    broken = tmp_path / "broken.csv"
    broken.write_bytes(bytes(range(256)) * 10)
    done = _customers(service.data, "import", wrong_row, broken)
    assert (done.returncode, done.stderr) == (1, "")
    assert "\n  row 1: Must have at most 4 cells" in done.stdout
    assert f"{broken}: 0 created\nThe file cannot be read from row 1 on: " in done.stdout


def test_json_is_a_line_for_each_file_in_their_order(service: Service, tmp_path: Path, group: int) -> None:
    files = [_file(tmp_path, f"{group}-{index}.csv", f"A,B,a{index}@example.com,{group}") for index in range(3)]
    done = _customers(service.data, "import", "--json", *files)
    assert (done.returncode, done.stderr) == (0, "")
    summaries = [json.loads(line) for line in done.stdout.splitlines()]
    assert [summary["source"]["key"] for summary in summaries] == [f"imports/{file.name}" for file in files]
    assert [(summary["status"], summary["created"]) for summary in summaries] == [("completed", 1)] * 3


def test_files_of_one_name_in_several_folders_are_all_imported(service: Service, tmp_path: Path, group: int) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    files = [_file(folder, f"{group}.csv", f"{folder.name},B,a@example.com,{group}") for folder in folders]
    done = _customers(service.data, "import", *files)
    assert done.stdout.splitlines() == [f"{file}: 1 created" for file in files]


def test_a_file_is_summed_up_whatever_its_rows_and_its_name_are(service: Service, tmp_path: Path, group: int) -> None:
    good = json.dumps({"first_name": "A", "last_name": "B", "email": "a@example.com", "group_id": group})
    lines = tmp_path / os.fsdecode(b"x\xff\n.jsonl")
    lines.write_text("\n".join(["{bad}", good, "{'a': 1}", '{"a":"\t"}', '{"a":1,}', ""]))
    piped = tmp_path / "piped.csv"
    piped.write_text(f"sep=|\n{HEADER}\nA,C,a@example.com,{group}\nA,C,x,{group}\n".replace(",", "|"))
    done = _customers(service.data, "import", lines, piped)
    assert (done.returncode, done.stderr) == (1, "")
    text = done.stdout.splitlines()
    assert text[0].endswith(": 1 created, 4 rejected")
    assert [line.partition(":")[0] for line in text[1:5]] == [f"  row {number}" for number in (1, 3, 4, 5)]
    assert text[6:8] == [
        f"{piped}: 1 created, 1 rejected",
        "  row 2, email: Must be a valid email address, like name@example.com.",
    ]


def test_each_import_of_the_same_file_is_shown_its_own_summary(service: Service, tmp_path: Path, group: int) -> None:
    file = _file(tmp_path, f"{group}.csv", f"A,B,a@example.com,{group}")
    done = _customers(service.data, "import", "--json", *[file] * 5)
    summaries = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({summary["import_id"] for summary in summaries}) == 5
    assert [(summary["created"], summary["already_there"]) for summary in summaries] == [(1, 0), *[(0, 1)] * 4]


def test_status_lists_imports_and_shows_one(service: Service, tmp_path: Path, group: int) -> None:
    file = _file(tmp_path, f"{group}.csv", f"A,B,a@example.com,{group}", f"A,B,x,{group}")
    printed = _customers(service.data, "import", file).stdout
    listed: list[dict[str, Any]] = json.loads(_customers(service.data, "import", "status", "--json").stdout)
    assert listed == sorted(listed, key=lambda row: str(row["started_at"]), reverse=True)
    (row,) = [row for row in listed if row["source"].get("key") == f"imports/{group}.csv"]
    assert (row["status"], row["rows"], row["created"], row["rejected"]) == ("completed", 2, 1, 1)

    name = row["import_id"][:16]
    shown = _customers(service.data, "import", "status", name)
    assert (shown.returncode, shown.stdout) == (0, printed.replace(str(file), file.name))
    summary = json.loads(_customers(service.data, "import", "status", name, "--json").stdout)
    assert (summary["import_id"], summary["created"]) == (row["import_id"], 1)
    table = _customers(service.data, "import", "status").stdout
    assert re.search(rf"{name} +{group}\.csv .* completed +1 created, 1 rejected", table)
    assert len(_customers(service.data, "import", "status", "--limit", "1", "--json").stdout.split("import_id")) == 2


def test_status_tells_what_is_running_and_asks_for_more_digits(
    service: Service, tables_of: Callable[[Service], Tables]
) -> None:
    outputs = json.loads((service.data / "endpoints.json").read_text())["outputs"]
    store = ImportStore(tables_of(service).client, outputs["ImportsTableName"])
    for last in "ab":
        store.begin("f" * 20 + last, {"message_id": last})
    plan = store.begin("e" * 64, {"key": "imports/big.csv"})
    store.plan(plan, 3, None)
    store.book(plan.import_id, 1, Layout("json_lines"), Counts(created=5, rejected=1), None)
    for name, says in (
        ("f" * 20, "Several imports begin with"),
        ("f" * 21, "There is no import"),
        (".*", "There is no import"),
    ):
        done = _customers(service.data, "import", "status", name)
        assert (done.returncode, done.stdout) == (1, "")
        assert says in done.stderr
    assert _customers(service.data, "import", "status", "f" * 20 + "a").stdout == "message a: running, 0 created\n"
    shown = _customers(service.data, "import", "status", "e" * 16).stdout
    assert shown == "big.csv: running, 1 of 3 chunks, 5 created, 1 rejected\n"


def test_status_shows_the_report_in_the_folder_when_the_bucket_is_empty_after_a_restart(
    service: Service, tmp_path: Path, group: int
) -> None:
    file = _file(tmp_path, f"{group}.csv", f"A,B,x,{group}")
    printed = _customers(service.data, "import", file).stdout
    place = Path(printed.splitlines()[-1].rpartition(": ")[2])
    wait_until(lambda: (place.parent / "summary.json").is_file() and place.is_file())
    summary = json.loads((place.parent / "summary.json").read_text())
    running = json.loads((service.data / "endpoints.json").read_text())
    s3 = boto3.client(
        "s3",
        endpoint_url=running["aws"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    for key in (summary["summary"], summary["rejected_rows"]):
        s3.delete_object(Bucket=running["outputs"]["ImportBucketName"], Key=key)
    shown = _customers(service.data, "import", "status", summary["import_id"])
    assert "row 1, email" in printed
    assert shown.stdout == printed.replace(str(file), file.name)


def test_a_file_called_status_is_imported_by_its_path(service: Service, tmp_path: Path, group: int) -> None:
    _file(tmp_path, "status", f"A,B,a@example.com,{group}")
    done = subprocess.run(
        [ROOT / "customers", "import", "./status"],
        cwd=tmp_path,
        env={**os.environ, "DATA_DIR": str(service.data)},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert (done.returncode, done.stdout) == (0, "status: 1 created\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_import_continues_and_says_how_to_follow_it(
    service: Service, tmp_path: Path, group: int, number: signal.Signals, code: int
) -> None:
    # So many rows that the import cannot be over before the signal.
    file = _file(tmp_path, f"{group}.csv", *(f"A,B,a{row}@example.com,{group}" for row in range(4000)))
    waiting = _file(tmp_path, "waiting.csv", f"A,B,b@example.com,{group}")
    with _at_a_terminal(service.data, "import", file, waiting) as following:
        following.wait_for(" rows, ")
        following.process.send_signal(number)
        output, shown = following.end()
    assert (following.process.returncode, output) == (code, "")
    assert f"Interrupted. The import of {file} continues." in shown
    assert f"Not imported: {waiting}" in shown
    found = re.search(r"\./customers (import status [0-9a-f]{16})\n", shown)
    assert found is not None, shown

    def completed() -> bool:
        return _customers(service.data, *found[1].split()).stdout == f"{file.name}: 4,000 created\n"

    wait_until(completed)


def test_an_import_that_is_interrupted_before_the_service_begins_says_how_to_find_it(
    service: Service, tmp_path: Path, group: int
) -> None:
    file = _file(tmp_path, f"{group}.csv", f"A,B,a@example.com,{group}")
    with Stopped(service.process.pid), _at_a_terminal(service.data, "import", file) as following:
        following.wait_for(f"importing {group}.csv")
        following.process.send_signal(signal.SIGINT)
        _, shown = following.end()
    assert following.process.returncode == 130
    assert f"{file} is uploaded, and its import continues. To find it: ./customers import status\n" in shown

    def completed() -> bool:
        table = _customers(service.data, "import", "status").stdout
        return re.search(rf"{group}\.csv .* completed +1 created", table) is not None

    wait_until(completed)


def test_an_import_that_is_interrupted_before_it_began_says_so(service: Service, tmp_path: Path, group: int) -> None:
    file = _file(tmp_path, f"{group}.csv", f"A,B,a@example.com,{group}")
    (services,) = [found.pid for found in descendants(service.process.pid) if "aws_server.py" in found.command]
    with Stopped(services), _at_a_terminal(service.data, "import", file) as following:
        following.wait_for("uploading")
        following.process.send_signal(signal.SIGINT)
        _, shown = following.end()
    assert following.process.returncode == 130
    assert "nothing was imported" in shown
