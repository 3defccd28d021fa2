"""Writes measurements into the documents."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_LEFT: Final = 290
"""Where the bars of a plot begin."""


class Bar(NamedTuple):
    """One bar of a plot."""

    label: str
    value: float
    ours: bool
    before: float | None = None
    """The value before a change, if that was measured too."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table. All columns but the first are figures."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replace_part(document: Path, name: str, text: str) -> None:
    """Replace the text between the two comments of a document that have a name."""
    before = document.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    after, found = pattern.subn(lambda match: f"{match[1]}{text}\n{match[2]}", before)
    if found != 1:
        raise ValueError(f"{document} has no part {name}")
    document.write_text(after, encoding="utf-8")


def bars(title: str, values: Sequence[Bar], form: str = ",.0f") -> str:
    """Draw horizontal bars as an SVG picture that suits light and dark pages. Values from before are below, paler."""
    width, step = 560, 26 if all(bar.before is None for bar in values) else 38
    largest = max(max(bar.value, bar.before or 0) for bar in values)
    height = 48 + step * len(values)
    text = 'font-family="system-ui, sans-serif" font-size="14" fill="#1f2328"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + width + 90} {height}" role="img" {text}>',
        f"<title>{escape(title)}</title>",
        '<rect width="100%" height="100%" rx="6" fill="#ffffff"/>',
        f'<text x="16" y="26" font-weight="600">{escape(title)}</text>',
    ]
    for number, bar in enumerate(values):
        top = 40 + step * number
        colour, weight = ("#1a7f5a", "600") if bar.ours else ("#9aa4b2", "400")
        place = f'x="{_LEFT - 10}" y="{top + 15}" text-anchor="end" font-weight="{weight}"'
        parts += [
            f"<text {place}>{escape(bar.label)}</text>",
            *_bar(top, 20, bar.value / largest * width, colour, f"{bar.value:{form}}"),
        ]
        if bar.before is not None:
            parts += _bar(top + 21, 9, bar.before / largest * width, "#b7d9cb", f"{bar.before:{form}} before")
    return "\n".join([*parts, "</svg>", ""])


def _bar(top: int, height: int, length: float, colour: str, text: str) -> list[str]:
    """Draw a bar with a text after it."""
    size = ' font-size="11"' if height < 20 else ""
    return [
        f'<rect x="{_LEFT}" y="{top}" width="{length:.1f}" height="{height}" rx="3" fill="{colour}"/>',
        f'<text x="{_LEFT + length + 6:.1f}" y="{top + height * 3 // 4 + (2 if size else 0)}"{size}>{text}</text>',
    ]
