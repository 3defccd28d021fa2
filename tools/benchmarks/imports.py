"""Imports files into the laptop's service, checks the counts, and measures time and memory.

python -m tools.benchmarks.imports 10000 100000 1000000      # --keys: with external ids

In each file, one row in a hundred is bad. Each file is dropped into the import folder of its own service. The rejected
rows are corrected and dropped in again: now none may be rejected. Needs Linux, which records a process's peak memory.
It writes its table and its plot into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tools.benchmarks.contenders import ROOT
from tools.benchmarks.import_rows import BAD_EVERY, make, mend
from tools.benchmarks.report import Bar, bars, replace_part, table

if TYPE_CHECKING:
    from collections.abc import Iterator

WATCHED = {
    "plan_import": ":function:PlanImport",
    "import_customers": ":function:ImportCustomers",
    "engine": "dynoxide",
    "moto's server": "aws_server.py",
    "make run": "-m local",
}
TICKS = os.sysconf("SC_CLK_TCK")


class Watch:
    """Watches the peak memory and the CPU time of the service's processes until it is closed."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._seen: dict[int, tuple[str, float, float]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()

    def close(self) -> dict[str, tuple[float, float]]:
        """Return, for each kind of process, the largest peak in MB and the CPU seconds of all."""
        self._ended.set()
        self._thread.join()
        self._look()
        return {
            kind: (
                max((peak for name, peak, _ in self._seen.values() if name == kind), default=0.0),
                sum(cpu for name, _, cpu in self._seen.values() if name == kind),
            )
            for kind in WATCHED
        }

    def _look_on(self) -> None:
        while not self._ended.wait(0.25):
            self._look()

    def _look(self) -> None:
        for pid in (self._pid, *_descendants(self._pid)):
            with suppress(FileNotFoundError, ProcessLookupError, StopIteration):
                folder = Path("/proc", str(pid))
                command = folder.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode()
                kind = next(kind for kind, mark in WATCHED.items() if mark in command)
                peak = re.search(r"VmHWM:\s+(\d+) kB", folder.joinpath("status").read_text())
                fields = folder.joinpath("stat").read_text().rpartition(")")[2].split()
                cpu = (int(fields[11]) + int(fields[12])) / TICKS
                self._seen[pid] = (kind, int(peak[1]) / 1024 if peak else 0.0, cpu)


def _descendants(pid: int) -> list[int]:
    found = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path("/proc", str(pid), "task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *_descendants(child)]
    return found


@contextmanager
def _service(data: Path) -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-m", "local"],
        cwd=ROOT,
        env={**os.environ, "DATA_DIR": str(data), "PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        try:
            next(line for line in process.stdout if line.startswith("ready"))
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)


def _import(data: Path, file: Path) -> tuple[dict[str, Any], Path]:
    """Drop a file in, and wait for its summary."""
    folder = data / "import-bucket"
    file.rename(folder / "imports" / file.name)
    report = folder / "reports" / file.name
    while not (found := list(report.glob("*/summary.json"))):
        time.sleep(0.1)
    summary: dict[str, Any] = json.loads(found[0].read_text())
    rejected = found[0].with_name("rejected.csv")
    while summary["rejected"] and not rejected.exists():
        time.sleep(0.1)
    return summary, rejected


class Imported(NamedTuple):
    """An import of a file."""

    summary: dict[str, Any]
    peaks: dict[str, float]
    """MB of the largest process of each kind."""


def run(rows: int, *, keys: bool) -> Imported:
    """Import this many rows, then correct the rejected ones and import them again."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        with _service(data) as pid:
            file = Path(folder, f"{rows}.csv")
            make(rows, file, keys=keys)
            watch = Watch(pid)
            summary, rejected = _import(data, file)
            seen = watch.close()
            bad = rows // BAD_EVERY
            _check(summary, created=rows - bad, rejected=bad)
            mended = Path(folder, f"{rows}-mended.csv")
            mend(rejected, mended)
            again, _ = _import(data, mended)
            _check(again, created=bad, rejected=0)
    print({kind: f"{cpu:.0f} CPU s, {peak:.0f} MB" for kind, (peak, cpu) in seen.items()})
    return Imported(summary, {kind: peak for kind, (peak, _) in seen.items()})


def _check(summary: dict[str, Any], *, created: int, rejected: int) -> None:
    found = (summary["status"], summary["created"], summary["already_there"], summary["rejected"])
    if found != ("completed", created, 0, rejected):
        raise SystemExit(f"{created:,} should be created and {rejected:,} rejected: {summary}")


def main() -> None:
    """Import files with these numbers of rows, and write the results down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--keys", action="store_true")
    given = parser.parse_args()
    imported = {rows: run(rows, keys=given.keys) for rows in given.rows}
    lines = []
    for rows, (summary, peaks) in imported.items():
        counts = (f"{summary[name]:,}" for name in ("created", "already_there", "rejected"))
        speed = (f"{summary['seconds']:.0f}", f"{summary['rows_per_second']:,.0f}")
        lines.append((f"{rows:,}", *counts, *speed, *(f"{peak:.0f} MB" for peak in peaks.values())))
    head = ("rows", "created", "already there", "rejected", "seconds", "rows a second", *WATCHED)
    text = table(head, lines)
    print(f"\n{text}")
    replace_part(ROOT / "docs" / "performance.md", "imports-keys" if given.keys else "imports", text)
    if given.keys:
        return
    drawn = [
        Bar(f"{kind}, {rows:,} rows", done.peaks[kind], ours=True)
        for kind in ("plan_import", "import_customers")
        for rows, done in imported.items()
    ]
    plot = bars("Peak memory of an import's functions, MB, by the size of the file", drawn)
    (ROOT / "docs" / "imports.svg").write_text(plot, encoding="utf-8")


if __name__ == "__main__":
    main()
