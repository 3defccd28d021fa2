"""Reads a built site: where its links go, and what its pages load."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

_LOADED: Final = {
    ("audio", "src"),
    ("embed", "src"),
    ("iframe", "src"),
    ("img", "src"),
    ("img", "srcset"),
    ("link", "href"),
    ("object", "data"),
    ("script", "src"),
    ("source", "src"),
    ("source", "srcset"),
    ("video", "src"),
}
"""What a browser loads with a page, unlike the `href` of a link."""
_LOADED_BY_STYLE: Final = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""")


class Page(HTMLParser):
    """A page's anchors, the addresses in it, and which of those it loads."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.addresses: set[str] = set()
        self.loaded: set[str] = set()
        text = file.read_text(encoding="utf-8")
        self.feed(text)
        self.loaded.update(_LOADED_BY_STYLE.findall(text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id":
                self.ids.add(value)
            if name in {"href", "src", "srcset", "action", "data"}:
                self.addresses.add(value)
            if (tag, name) in _LOADED:
                self.loaded.add(value)


def broken_links(folder: Path) -> list[str]:
    """Return the links within a site to a missing file or anchor, each after its page."""
    pages = {file.resolve(): Page(file) for file in sorted(folder.rglob("*.html"))}
    broken = []
    for file, page in pages.items():
        for address in sorted(page.addresses):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            anchor = unquote(parts.fragment)
            known = pages[target].ids if target in pages else set()
            within = target.is_relative_to(folder.resolve())
            if not (within and target.is_file()) or (anchor and anchor not in known):
                broken.append(f"{file.relative_to(folder.resolve())}: {address}")
    return broken


def loaded_from_elsewhere(folder: Path) -> list[str]:
    """Return what the pages and style sheets of a site load from other hosts, each after its file."""
    found = []
    for file in sorted(folder.rglob("*")):
        loaded: set[str] = set()
        if file.suffix == ".html":
            loaded = {address for address in Page(file).loaded if re.match(r"(https?:)?//", address)}
        elif file.suffix in {".css", ".svg"}:
            loaded = set(_LOADED_BY_STYLE.findall(file.read_text(encoding="utf-8")))
        found += [f"{file.relative_to(folder)}: {address}" for address in sorted(loaded)]
    return found
