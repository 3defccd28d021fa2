"""Our functions compared with bare boto3 handlers and the usual frameworks, each as `sam build` ships it.

Run as `make bench`; it writes the tables and the plot of docs/performance.md. Every function runs under Lambda's
runtime client against the real engine. Rounds are interleaved, so that other load on the machine affects all alike, and
medians are taken. The comparison is of CPU time of the function's own process: ratios are steadier than milliseconds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tools.benchmarks.contenders import BEFORE, ROOT, contenders
from tools.benchmarks.report import Bar, bars, replace_part, table
from tools.benchmarks.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from tools.benchmarks.contenders import Contender

OURS: Final = ("authorizer", "GET", "DELETE", "page of 100", "PATCH", "POST", "PUT")
FRAMEWORKS: Final = ("Flask", "Powertools", "FastAPI")
LABELS: Final = {
    "no-op": "nothing at all",
    "boto3 get": "bare boto3, GetItem",
    "boto3 put": "bare boto3, PutItem",
    "boto3 query": "boto3 `Table.query` of 1,000, `json.dumps`",
    "Flask": "Flask (apig-wsgi)",
    "Powertools": "Powertools resolver with validation",
    "FastAPI": "FastAPI + Mangum",
    "authorizer": "**ours**: authorizer",
    **{name: f"**ours**: {name}" for name in ("GET", "DELETE", "PATCH", "POST")},
    "PUT": "**ours**: PUT, nothing new",
    **{f"page of {size}": f"**ours**: a page of {size}" for size in ("100", "1,000")},
}
_WARM: Final = ("boto3 get", "boto3 put", "boto3 query", *FRAMEWORKS, *OURS, "page of 1,000")
_THOUSAND: Final = frozenset({"boto3 query", "page of 1,000"})
_LONG: Final = frozenset({"boto3 query", "page of 1,000", "page of 100"})


class Start(NamedTuple):
    """From the start of a process to its first answer."""

    cpu: float
    """Milliseconds."""
    wall: float
    """Milliseconds."""
    megabytes: float
    """Peak memory."""


class Call(NamedTuple):
    """A call of a process that has started."""

    cpu: float
    """Milliseconds."""
    wall: float
    """Milliseconds."""


def start(name: str, contender: Contender) -> Start:
    """Measure one start."""
    event = contender.event()
    with Runtime(contender.package) as runtime:
        check(name, runtime.invoke(event))
        return Start(runtime.cpu, runtime.wall, runtime.peak_megabytes)


def calls(name: str, contender: Contender, runtime: Runtime, count: int) -> Call:
    """Measure some calls, and return the mean."""
    events = [contender.event() for _ in range(count)]
    cpu, wall = runtime.cpu, runtime.wall
    for event in events:
        check(name, runtime.invoke(event))
    return Call((runtime.cpu - cpu) / count, (runtime.wall - wall) / count)


def check(name: str, answer: Any) -> None:  # noqa: ANN401 (JSON)
    """Stop if a function failed: a fast failure is not a result."""
    if answer.get("statusCode", 200) >= 300:
        sys.exit(f"{name}: {answer}")


def median[T: (Start, Call)](rounds: list[T]) -> T:
    """Return the median of each figure."""
    kind = type(rounds[0])
    return kind(*(statistics.median(figures) for figures in zip(*rounds, strict=True)))


def measure_starts(all_: dict[str, Contender], rounds: int) -> dict[str, Start]:
    """Measure the starts. One bare handler and one page are enough: the others start alike."""
    names = [name for name in all_ if name.removesuffix(BEFORE) not in {"page of 1,000", "boto3 put", "boto3 query"}]
    measured: dict[str, list[Start]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name in names:
            progress(f"starts, round {number} of {rounds}: {name}")
            measured[name].append(start(name, all_[name]))
    # The first round reads the disk.
    return {name: median(figures[1:]) for name, figures in measured.items()}


def measure_calls(all_: dict[str, Contender], rounds: int, count: int) -> dict[str, Call]:
    """Measure the calls of processes that have started."""
    with ExitStack() as running:
        names = [name for name in all_ if name.removesuffix(BEFORE) in _WARM]
        runtimes = {name: running.enter_context(Runtime(all_[name].package)) for name in names}
        measured: dict[str, list[Call]] = {name: [] for name in names}
        for number in range(rounds + 1):
            for name, runtime in runtimes.items():
                progress(f"calls, round {number} of {rounds}: {name}")
                measured[name].append(calls(name, all_[name], runtime, _times(name, count)))
    return {name: median(figures[1:]) for name, figures in measured.items()}


def _times(name: str, count: int) -> int:
    return max(count // 10, 2) if name.removesuffix(BEFORE) in _LONG else count


def label(name: str) -> str:
    """Return a contender's name in a table."""
    base, _, how = name.partition(", ")
    return LABELS[base] + {"": "", "bytecode": ", with bytecode", "before": ", before"}[how]


def progress(text: str) -> None:
    """Show the progress, in a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def starts_table(all_: dict[str, Contender], starts: dict[str, Start]) -> str:
    """Return the table of starts: each as a multiple of the bare handler's, as shipped and with bytecode."""
    plain, compiled = starts["boto3 get"].cpu, starts["boto3 get, bytecode"].cpu
    rows = []
    for name, figures in sorted(starts.items(), key=lambda item: item[1].cpu):
        rows.append(
            (
                label(name),
                f"{figures.cpu:.0f}",
                f"{figures.cpu / plain:.2f}",
                f"{figures.cpu / compiled:.2f}",
                f"{figures.cpu / starts['FastAPI'].cpu:.2f}",
                f"{figures.wall:.0f}",
                f"{figures.megabytes:.0f}",
                f"{all_[name].package.megabytes:.1f}",
            )
        )
    return table(
        ("start to first answer", "CPU ms", "÷ bare boto3", "÷ with bytecode", "÷ FastAPI", "wall ms", "peak MB", "MB"),
        rows,
    )


def calls_table(measured: dict[str, Call]) -> str:
    """Return the table of calls: each as a multiple of the bare handler that does the same."""
    floors = {"POST": "boto3 put", "page of 1,000": "boto3 query"}
    rows = []
    for name, figures in sorted(measured.items(), key=lambda item: item[1].cpu):
        floor = floors.get(name, "boto3 get")
        comparable = name in {*floors, *FRAMEWORKS, "GET", "authorizer"}
        ratio = f"{figures.cpu / measured[floor].cpu:.2f} of {LABELS[floor]}" if comparable else ""
        rows.append((label(name), f"{figures.cpu:.2f}", ratio, f"{figures.wall:.2f}"))
    return table(("a call", "CPU ms", "is", "wall ms"), rows)


def plot(title: str, measured: Mapping[str, Start] | Mapping[str, Call], left_out: AbstractSet[str], form: str) -> str:
    """Draw the CPU times, shortest first, each with the one before the change, if that was measured."""
    shown = [name for name in measured if not name.endswith(BEFORE) and name not in left_out]
    drawn = []
    for name in sorted(shown, key=lambda name: measured[name].cpu):
        before = measured.get(f"{name}{BEFORE}")
        text = label(name).replace("**ours**: ", "").replace("`", "")
        ours = LABELS[name.partition(", ")[0]].startswith("**ours**")
        drawn.append(Bar(text, measured[name].cpu, ours, before.cpu if before else None))
    return bars(title, drawn, form)


def main() -> None:
    """Measure, and write the results down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=17, help="of starts, and of calls")
    parser.add_argument("--calls", type=int, default=100, help="in a round")
    parser.add_argument("--before", type=Path, help="another checkout of the project, to measure too")
    arguments = parser.parse_args()
    with contenders(arguments.before) as all_:
        starts = measure_starts(all_, arguments.rounds)
        measured = measure_calls(all_, arguments.rounds, arguments.calls)
        tables = f"{starts_table(all_, starts)}\n\n{calls_table(measured)}"
    progress("")
    print(tables)
    replace_part(ROOT / "docs" / "performance.md", "ladder", tables)
    frameworks = {f"{name}, bytecode" for name in FRAMEWORKS}
    # The plots show what is shipped: the peers as a plain `sam build` makes them.
    title = "From the start of a function to its first answer, CPU milliseconds"
    (ROOT / "docs" / "cold-start.svg").write_text(plot(title, starts, frameworks, ",.0f"), encoding="utf-8")
    title = "A call of a function that has started, CPU milliseconds"
    (ROOT / "docs" / "calls.svg").write_text(plot(title, measured, _THOUSAND, ".2f"), encoding="utf-8")


if __name__ == "__main__":
    main()
