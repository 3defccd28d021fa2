"""Writes what was measured into the documents."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


class Bar(NamedTuple):
    """One bar of a plot."""

    label: str
    value: float
    ours: bool


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown; all but the first column are figures."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replace_part(document: Path, name: str, text: str) -> None:
    """Put a text between the two comments of a document that have its name."""
    before = document.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    after, found = pattern.subn(lambda match: f"{match[1]}{text}\n{match[2]}", before)
    if found != 1:
        raise ValueError(f"{document} has no part {name}")
    document.write_text(after, encoding="utf-8")


def bars(title: str, values: Sequence[Bar]) -> str:
    """Draw horizontal bars as an SVG picture that suits a light and a dark page."""
    left, width, step = 290, 560, 26
    largest = max(bar.value for bar in values)
    height = 48 + step * len(values)
    text = 'font-family="system-ui, sans-serif" font-size="14" fill="#1f2328"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 70} {height}" role="img" {text}>',
        f"<title>{escape(title)}</title>",
        '<rect width="100%" height="100%" rx="6" fill="#ffffff"/>',
        f'<text x="16" y="26" font-weight="600">{escape(title)}</text>',
    ]
    for number, bar in enumerate(values):
        top, length = 40 + step * number, bar.value / largest * width
        colour, weight = ("#1a7f5a", "600") if bar.ours else ("#9aa4b2", "400")
        label = (
            f'<text x="{left - 10}" y="{top + 15}" text-anchor="end" font-weight="{weight}">{escape(bar.label)}</text>'
        )
        parts += [
            label,
            f'<rect x="{left}" y="{top}" width="{length:.1f}" height="20" rx="3" fill="{colour}"/>',
            f'<text x="{left + length + 6:.1f}" y="{top + 15}">{bar.value:.0f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
