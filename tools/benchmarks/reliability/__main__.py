"""Run what docs/reliability.md describes, and write the results there: `make reliability`, or a part: `… ARGS=load`."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tools.benchmarks.reliability import bad_requests, hot_group, imports, keys, load, requests
from tools.benchmarks.reliability.fault_proxy import Fault
from tools.benchmarks.reliability.history import run as history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tools.benchmarks.reliability.requests import Cell

_DOCUMENT: Final = Path("docs/reliability.md")


def _table(cells: Iterable[tuple[str, Fault, bool, Cell]], what: str) -> tuple[str, bool]:
    """Return a table of all cells, with a line for each kind when all calls fail, and one when a third do."""
    lines: dict[tuple[str, bool], dict[Fault, Cell]] = {}
    for name, fault, always, cell in cells:
        lines.setdefault((name, always), {})[fault] = cell
        _say(f"{name}, {fault}, {'always' if always else 'one in three'}: {dict(cell.statuses)} {cell.problems or ''}")
    faults = list(next(iter(lines.values())))
    table = [
        f"| {what} | fails | {' | '.join(faults)} | calls hit | trials | wrong | partial | lost | doubled |",
        f"| --- | --- |{' ---: |' * (len(faults) + 6)}",
    ]
    well = True
    for (name, always), row in lines.items():
        verdicts = [verdict for cell in row.values() for verdict in cell.verdicts]
        trials = sum(cell.statuses.total() or len(cell.verdicts) for cell in row.values())
        wrong = sorted({problem for cell in row.values() for problem in cell.problems})
        counts = [sum(getattr(one, column) for one in verdicts) for column in ("partial", "lost", "doubled")]
        shown = [_answers(row[fault]) for fault in faults]
        spoilt = sum(cell.spoilt for cell in row.values())
        table.append(
            f"| {name} | {'always' if always else '1 in 3'} | {' | '.join(shown)} | {spoilt} | {trials} "
            f"| {', '.join(wrong) or 0} | {' | '.join(map(str, counts))} |"
        )
        well &= not wrong
    return "\n".join(table), well


def _answers(cell: Cell) -> str:
    """Return a cell's answers and the time of the slowest. For imports, return how many were right."""
    if not cell.statuses:
        return f"{sum(not any(verdict) for verdict in cell.verdicts)} right"
    statuses = ", ".join(f"{number} × {status}" for status, number in sorted(cell.statuses.items()))
    return f"{statuses}; {cell.slowest:.1f} s"


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _requests() -> tuple[str, bool]:
    with requests.running_world() as world:
        return _table(requests.matrix(world, list(Fault), trials=8), "request")


def _imports() -> tuple[str, bool]:
    with imports.running_import_cloud() as cloud:
        return _table(imports.matrix(cloud, list(Fault), trials=2), "function: service")


def _load() -> tuple[str, bool]:
    return load.run(32, 300, _say)


def _bad_requests() -> tuple[str, bool]:
    return bad_requests.run(100_000, 1, _say)


def _hot_group() -> tuple[str, bool]:
    with tempfile.TemporaryDirectory() as folder:
        # A fifth of the pace of an import on this machine.
        return hot_group.run(100_000, 200, Path(folder), _say)


_PARTS: Final = {
    "requests": _requests,
    "imports": _imports,
    "load": _load,
    "bad-requests": _bad_requests,
    "hot-group": _hot_group,
}


def main() -> int:
    """Run the parts. Return 1 if anything was wrong, lost or doubled."""
    parser = argparse.ArgumentParser(prog="reliability", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*_PARTS, "history", "keys", []], help="all if none is named")
    parser.add_argument("--seconds", type=float, default=300.0, help="of the history, with each kind of fault")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of random choices")
    options = parser.parse_args()
    parts: dict[str, Callable[[], tuple[str, bool]]] = {
        **_PARTS,
        "history": partial(history.run, options.seconds, options.seed, _say),
        "keys": partial(keys.run, 64, 60.0, options.seed, _say),
    }
    well = True
    for part in options.parts or parts:
        table, part_well = parts[part]()
        well &= part_well
        text = _DOCUMENT.read_text(encoding="utf-8")
        before, mark, rest = text.partition(f"<!-- {part} -->\n")
        after = rest[rest.index("<!-- end -->") :]
        _DOCUMENT.write_text(f"{before}{mark}{table}\n{after}", encoding="utf-8")
        print(table)
        _say(f"{part}: {'all well' if part_well else 'NOT WELL'}")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
