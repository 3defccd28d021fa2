"""The results of a load test, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Measured(NamedTuple):
    """What was measured for an endpoint."""

    endpoint: str
    calls: int
    errors: int
    milliseconds: tuple[float, float, float, float]
    """The 50th, 95th and 99th percentile, and the maximum."""


def table(measured: Iterable[Measured]) -> str:
    """Return a Markdown table, which reads well in a terminal and can be pasted into a page."""
    head = ("endpoint", "calls", "errors", "p50 ms", "p95 ms", "p99 ms", "max ms")
    rows = [
        (each.endpoint, f"{each.calls:,}", f"{each.errors:,}", *(f"{value:,.0f}" for value in each.milliseconds))
        for each in measured
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = f"| {'-' * widths[0]} | " + " | ".join(f"{'-' * (width - 1)}:" for width in widths[1:]) + " |"
    return "\n".join([_line(head, widths), rule, *(_line(row, widths) for row in rows)])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return f"| {first[0]:<{first[1]}} | " + " | ".join(f"{cell:>{width}}" for cell, width in others) + " |"
