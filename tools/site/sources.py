"""Lays the documents out as the pages of the site.

On GitHub a link may lead to any file of the project. The site has only the documents and the files beside them. So a
link to one of these gets its address on the site, and a link to anything else becomes the name of the file.
"""

from __future__ import annotations

import os
import re
import shutil
from html import escape
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HOME: Final = "README.md"
REFERENCE: Final = "reference"
"""The folder of the reference page."""
_DOCS: Final = PurePosixPath("docs")
_GITHUB: Final = PurePosixPath(".github")
_NO_PAGES: Final = _DOCS / "page"
"""What the reference page is made of."""
# Code comes first, so that nothing in it is taken for a link. A link whose text is code begins before that.
_CODE: Final = (
    r"^ *(?P<fence>`{3,}|~{3,}).*?(?:^ *(?P=fence)|\Z)"
    r"|(?<!`)(?P<ticks>`+)(?!`)(?:.(?!\n\s*\n))+?(?<!`)(?P=ticks)(?!`)"
)
_LINK: Final = re.compile(rf"{_CODE}|\[(?P<text>[^\[\]]*)\]\((?P<link>[^)\s]+)\)", re.MULTILINE | re.DOTALL)
_DIAGRAM: Final = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PICTURE: Final = re.compile(
    r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">'
    r'\s*<img alt="(?P<alt>[^"]+)" src="(?P<light>[^"]+)">\s*</picture>'
)


class BrokenLinkError(Exception):
    """A document links to a file that the project does not have."""


def lay_out(root: Path, folder: Path) -> None:
    """Write the pages, and the files that they show, in the form that the site needs.

    Parameters
    ----------
    root
        The project.
    folder
        Where to write them.

    Raises
    ------
    BrokenLinkError
        A document links to a file that the project does not have.
    """
    sidebar = yaml.safe_load((root / "tools/site/sidebar.yaml").read_text(encoding="utf-8"))
    for source in _files(root):
        target = folder / _place(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix != ".md":
            shutil.copyfile(root / source, target)
            continue
        text = page(root, source)
        if source == PurePosixPath(HOME):
            text += "".join(_part(caption, entries) for caption, entries in sidebar.items())
        elif source.name == "README.md":
            below = [str(other) for other in _files(root) if other.parent == source.parent and other != source]
            listed = {entry for entries in sidebar.values() for entry, _ in map(_named, entries)}
            text += _list(
                name for name in map(PurePosixPath, below) if name.suffix == ".md" and str(name) not in listed
            )
        target.write_text(text, encoding="utf-8")
    (folder / REFERENCE).mkdir()
    (folder / REFERENCE / "index.md").write_text(_operations(root), encoding="utf-8")


def page(root: Path, source: PurePosixPath) -> str:
    """Return a document as a page of the site.

    Raises
    ------
    BrokenLinkError
        It links to a file that the project does not have.
    """

    def moved(match: re.Match[str]) -> str:
        text, link = match["text"], match["link"]
        if link is None:
            return match[0]
        path, hash_, anchor = link.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return match[0]
        target = PurePosixPath(os.path.normpath(source.parent / path))
        if not (root / target).exists():
            raise BrokenLinkError(f"{source}: {link}")
        if not _is_published(root, target):
            return f"{text} (`{target}`)"
        return f"[{text}]({os.path.relpath(_place(target), _place(source).parent)}{hash_}{anchor})"

    text = (root / source).read_text(encoding="utf-8")
    # The theme shows the picture that matches the reader's light or dark mode.
    text = _PICTURE.sub(r"![\g<alt>](\g<light>){.only-light}\n![\g<alt>](\g<dark>){.only-dark}", text)
    text = _LINK.sub(moved, text)
    return _DIAGRAM.sub(lambda match: f'<pre class="mermaid">\n{escape(match[1])}</pre>', text)


def _files(root: Path) -> list[PurePosixPath]:
    """Return the documents, and the files beside them."""
    found = [
        *root.glob("*.md"),
        *root.glob(".github/*.md"),
        *(path for path in (root / _DOCS).rglob("*") if path.is_file()),
    ]
    names = sorted(PurePosixPath(path.relative_to(root).as_posix()) for path in found)
    return [name for name in names if _is_published(root, name) and "__pycache__" not in name.parts]


def _is_published(root: Path, name: PurePosixPath) -> bool:
    own = name.is_relative_to(_DOCS) and not name.is_relative_to(_NO_PAGES)
    return (root / name).is_file() and (own or (name.suffix == ".md" and str(name.parent) in {".", str(_GITHUB)}))


def _place(source: PurePosixPath) -> PurePosixPath:
    """Return a file's place on the site."""
    beside = next((folder for folder in (_DOCS, _GITHUB) if source.is_relative_to(folder)), PurePosixPath())
    name = source.relative_to(beside)
    return name.with_name("index.md") if name.name == "README.md" else name


def _named(entry: str | dict[str, str]) -> tuple[str, str | None]:
    return (entry, None) if isinstance(entry, str) else next(iter(entry.items()))


def _part(caption: str, entries: list[str | dict[str, str]]) -> str:
    """Return a part of the sidebar in MyST's syntax."""
    lines = []
    for entry, name in map(_named, entries):
        address = f"/{REFERENCE}/index" if entry == REFERENCE else f"/{_place(PurePosixPath(entry)).with_suffix('')}"
        lines.append(address if name is None else f"{name} <{address}>")
    return _toctree(lines, f":caption: {caption}\n")


def _list(sources: Iterable[PurePosixPath]) -> str:
    lines = [f"/{_place(source).with_suffix('')}" for source in sources]
    return _toctree(lines, "") if lines else ""


def _toctree(lines: list[str], options: str) -> str:
    return "\n".join(["", "```{toctree}", f":hidden:\n{options}", *lines, "```", ""])


def _operations(root: Path) -> str:
    """Return a page through which the search finds the reference. The reference then replaces it."""
    document = yaml.safe_load((root / "docs/openapi.yaml").read_text(encoding="utf-8"))
    return "\n".join(["# API reference", "", *_summaries(document["paths"]), ""])


def _summaries(paths: dict[str, dict[str, Any]]) -> Iterator[str]:
    for path, operations in paths.items():
        for method, operation in operations.items():
            if "operationId" in operation:
                yield f"- `{method.upper()} {path}` {operation['operationId']}: {operation['summary']}"
