"""A nightly sync of many customers, from the file to the last edited cell: what is counted, and what is written.

`make bench-sync` (ARGS='--rows 2000' for a short run) imports and exports with the command line, on its own services.
After each step it compares counts, customers and events with what is expected, and stops if one differs.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tools.benchmarks.reliability.load import http_client, running_service
from tools.benchmarks.report import replace_part, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

type Json = dict[str, Any]
type Rows = list[dict[str, str]]

_ROOT: Final = Path(__file__).parents[2]
_COMMAND: Final = _ROOT / "customers"
_GROUPS: Final = 50
_CHANGED: Final = 100
"""One row in this many is changed."""
_BY_OTHERS: Final = 10
_SERVICE_FIELDS: Final = frozenset({"id", "created_at", "updated_at", "version"})


class Sync:
    """A folder with files, and a service that imports them."""

    def __init__(self, folder: Path, data: Path, http: httpx.Client) -> None:
        self._folder = folder
        self._events_file = data / "events.jsonl"
        self._environment = {**os.environ, "DATA_DIR": str(data)}
        self._http = http
        self._expected = 0
        self.rows: list[tuple[str, ...]] = []

    def import_file(self, what: str, rows: Rows, **expected: int) -> None:
        """Import rows, and compare the counts and the number of events with what is expected."""
        file = self._folder / "rows.csv"
        _write(file, rows)
        started = time.monotonic()
        done = self._customers("import", "--json", file)
        seconds = time.monotonic() - started
        summary: Json = json.loads(done.stdout)
        names = ("created", "updated", "unchanged", "rejected")
        _same(what, {name: summary.get(name, 0) for name in names}, {name: expected.get(name, 0) for name in names})
        writes = expected.get("created", 0) + expected.get("updated", 0)
        self._settle(what, writes)
        counts = ", ".join(f"{expected[name]:,} {name}" for name in names if name in expected)
        self._add(what, counts, writes, seconds, len(rows))

    def dry_run(self, rows: Rows) -> None:
        """Preview rows, and check that nothing was written."""
        file = self._folder / "rows.csv"
        _write(file, rows)
        started = time.monotonic()
        summary: Json = json.loads(self._customers("import", "--json", "--dry-run", file).stdout)
        self._add("a dry run: all valid", "", 0, time.monotonic() - started, len(rows))
        _same("the dry run", (summary["rows"], summary["valid"], summary["rejected"]), (len(rows), len(rows), 0))
        self._settle("the dry run", 0)
        _same("customers after the dry run", self.export("an export of nothing"), [])

    def export(self, what: str, *, interrupted: bool = False) -> Rows:
        """Export all customers, and return the rows."""
        file = self._folder / "all.csv"
        file.unlink(missing_ok=True)
        started = time.monotonic()
        if interrupted:
            self._interrupt_export(file)
        self._customers("export", "-o", file)
        seconds = time.monotonic() - started
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = list(csv.DictReader(opened))
        _same(what, len({row["id"] for row in rows}), len(rows))
        self._add(what, "", 0, seconds, len(rows))
        return rows

    def change(self, rows: Rows) -> None:
        """Change customers as another client."""
        for row in rows:
            self._http.patch(
                f"/api/customers/{row['id'].removeprefix('C-')}", json={"last_name": "Other"}
            ).raise_for_status()
        self._settle("another client", len(rows))

    def write_until(self, over: threading.Event) -> int:
        """Create and delete customers of a separate group, and return the number of writes."""
        writes = 0
        body = {"first_name": "A", "last_name": "B", "email": "a@example.com", "group_id": _GROUPS + 1}
        while not over.is_set():
            made = self._http.post("/api/customers/", json=body).raise_for_status().json()
            self._http.delete(f"/api/customers/{made['id']}").raise_for_status()
            writes += 2
        self._settle("a writer", writes)
        return writes

    def _add(self, what: str, counts: str, events: int, seconds: float, rows: int) -> None:
        self.rows.append((what, counts, f"{events:,}", f"{seconds:.0f}", f"{rows / seconds:,.0f}"))
        print(*self.rows[-1], sep=", ", flush=True)

    def _customers(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        # Exit code 1 means that rows were rejected, which the counts show too.
        return subprocess.run(  # noqa: S603
            [_COMMAND, *arguments], env=self._environment, stdout=subprocess.PIPE, text=True, check=False
        )

    def _interrupt_export(self, file: Path) -> None:
        """Start an export, and stop it when it has saved its first page."""
        command: list[str | Path] = [_COMMAND, "export", "-o", file]
        kept = file.with_name(f".{file.name}.part")
        with subprocess.Popen(command, env=self._environment, stderr=subprocess.DEVNULL) as process:  # noqa: S603
            while process.poll() is None and not (kept.exists() and kept.stat().st_size > 0):
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
        _same("an interrupted export ends, and can go on", (process.returncode != 0, kept.exists()), (True, True))

    def _events(self) -> int:
        """Count the change events so far, each once."""
        if not self._events_file.exists():
            return 0
        with self._events_file.open(encoding="utf-8") as lines:
            found = (json.loads(line) for line in lines)
            return len({event["detail"]["event_id"] for event in found if event["source"] == "customers"})

    def _settle(self, what: str, events: int) -> None:
        """Wait for this many more events, and a moment longer, to see that no other comes."""
        self._expected += events
        deadline = time.monotonic() + 120
        while self._events() != self._expected and time.monotonic() < deadline:
            time.sleep(0.5)
        time.sleep(2)
        _same(f"events of {what}", self._events(), self._expected)


def _same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise SystemExit(f"{what}: {found}, not {wanted}")


def _write(file: Path, rows: Rows) -> None:
    with file.open("w", encoding="utf-8", newline="") as output:
        writer = csv.DictWriter(output, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _made_up(number: int) -> Rows:
    return [
        {
            "external_id": f"shop-{one}",
            "first_name": f"First{one}",
            "last_name": f"Last{one}",
            "email": f"customer.{one}@example.com",
            "group_id": str(one % _GROUPS + 1),
            "age": str(one % 100),
            "metadata.plan": "gold" if one % 3 else "",
        }
        for one in range(number)
    ]


def _edited(rows: Rows, name: str) -> Rows:
    """Return the rows, with one in a hundred changed."""
    return [{**row, "last_name": f"{name}{index}"} if index % _CHANGED == 0 else row for index, row in enumerate(rows)]


def _content(rows: Rows) -> set[tuple[tuple[str, str], ...]]:
    return {tuple(sorted(item for item in row.items() if item[0] not in _SERVICE_FIELDS)) for row in rows}


def _first_service(sync: Sync, number: int) -> Rows:
    rows, changed = _made_up(number), number // _CHANGED
    sync.dry_run(rows)
    sync.import_file("the first night", rows, created=number)
    rows = _edited(rows, "Changed")
    sync.import_file("the next night, 1 % changed", rows, updated=changed, unchanged=number - changed)
    over = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        writer = threads.submit(sync.write_until, over)
        try:
            exported = sync.export("an export, interrupted and resumed, beside a writer", interrupted=True)
        finally:
            over.set()
        _same("a writer wrote", writer.result() > 0, wanted=True)
    exported = [row for row in exported if row["group_id"] != str(_GROUPS + 1)]
    _same("customers of the export", _content(exported), _content(rows))
    sync.import_file("the export, unchanged", exported, unchanged=number)
    exported.sort(key=lambda row: row["external_id"])
    sync.change(exported[::_CHANGED][:_BY_OTHERS])
    sync.import_file(
        "the export, 1 % edited, of which others changed ten",
        _edited(exported, "Edited"),
        updated=changed - _BY_OTHERS,
        unchanged=number - changed,
        rejected=_BY_OTHERS,
    )
    return sync.export("an export")


@contextmanager
def _running(folder: Path, name: str) -> Iterator[Sync]:
    data = folder / name
    with (
        running_service(data) as (_, url),
        http_client(url, (data / "token").read_text().strip(), timeout=40) as http,
    ):
        yield Sync(folder, data, http)


def run(folder: Path, number: int) -> list[tuple[str, ...]]:
    """Sync this many customers, and return the rows of the table.

    Raises
    ------
    SystemExit
        Something was counted, written or announced that is not as expected.
    """
    with _running(folder, "first") as first:
        exported = _first_service(first, number)
    with _running(folder, "second") as second:
        second.import_file("the export, into an empty service", exported, created=number)
        _same("customers of the copy", _content(second.export("the copy's export")), _content(exported))
    return first.rows + second.rows


def main() -> None:
    """Measure, and write the results down."""
    parser = argparse.ArgumentParser(prog="bench-sync", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="a multiple of 100, from 1000 (default: %(default)s)")
    with tempfile.TemporaryDirectory() as folder:
        rows = run(Path(folder), parser.parse_args().rows)
    text = table(("step", "rows", "events", "seconds", "rows a second"), rows)
    print(f"\n{text}")
    replace_part(_ROOT / "docs" / "performance.md", "sync", text)


if __name__ == "__main__":
    main()
