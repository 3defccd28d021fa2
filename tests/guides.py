"""Reads the guides of docs/guides: what they tell people to type, and what should be printed."""

from __future__ import annotations

import json
import re
from textwrap import dedent
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

GUIDES: Final = sorted(path for path in (ROOT / "docs" / "guides").glob("*.md") if path.name != "README.md")
_FENCED: Final = re.compile(r"^( *)```(\S+)(.*)\n((?:.*\n)*?)\1```$", re.MULTILINE)
_ANYTHING: Final = "…"
_DIFFERENT_EACH_TIME: Final = (
    (r"cust_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}", "TOKEN"),
    (r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID"),
    (r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:\.\d+)?Z)?", "TIME"),
    (r"\b(?:[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{16}|\d{10,16})\b", "ID"),
)


class Block(NamedTuple):
    """A fenced block of a page."""

    line: int
    language: str
    words: tuple[str, ...]
    """The words after the language."""
    text: str
    printed: Block | None = None
    """What the page shows as its output."""

    @property
    def fails(self) -> bool:
        """Whether the page says that its last command exits with 1."""
        return "exits=1" in self.words

    @property
    def comes_soon(self) -> bool:
        """Whether its output comes only after a moment, so that it may have to be typed again."""
        return "soon" in self.words

    @property
    def file(self) -> str | None:
        """The file of the project that it shows, or that it is to be added to (after a plus)."""
        return next((word for word in self.words if "/" in word), None)


def blocks(page: Path) -> list[Block]:
    """Return a page's blocks in order. What commands print is kept with the commands."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    for match in _FENCED.finditer(text):
        _, language, words, content = match.groups()
        block = Block(text.count("\n", 0, match.start()) + 1, language, tuple(words.split()), dedent(content))
        if language in {"text", "json"}:
            assert found, f"{page.name}:{block.line} shows an output before any command"
            assert found[-1].printed is None, f"{page.name}:{block.line} shows a second output"
            found[-1] = found[-1]._replace(printed=block)
        else:
            found.append(block)
    return found


def is_printed(shown: Block, printed: str) -> bool:
    """Return whether an output matches what a page shows, apart from ids, times and what the page leaves out."""
    wanted = shown.text
    if shown.language == "json":
        wanted = _json(wanted)
        try:
            printed = _json(printed)
        except ValueError:
            return False
    lines = (
        # Alone on a line, it stands for any number of lines.
        r"(?:.*\n)*" if line == _ANYTHING else ".*".join(map(re.escape, line.split(_ANYTHING))) + r"\n"
        for line in _shape(wanted).splitlines()
    )
    return re.fullmatch("".join(lines), _shape(printed)) is not None


def _json(text: str) -> str:
    return json.dumps(json.loads(text), ensure_ascii=False, indent=1)


def _shape(text: str) -> str:
    """Leave out what differs each time, the widths of columns, and the lines of tables."""
    for pattern, name in _DIFFERENT_EACH_TIME:
        text = re.sub(pattern, name, text)
    lines = (" ".join(line.replace("─", " ").split()) for line in text.removeprefix("\ufeff").splitlines())
    return "".join(f"{line}\n" for line in lines if line)
