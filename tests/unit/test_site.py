"""The pages of the site, before Sphinx builds them; tests/environment builds them."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

import pytest
import yaml

from local.reference import write_reference
from tests.conftest import ROOT
from tests.site import broken_links, loaded_from_elsewhere
from tools.site.sources import BrokenLinkError, lay_out, page

if TYPE_CHECKING:
    from pathlib import Path

PICTURE: Final = """<picture>
  <source media="(prefers-color-scheme: dark)" srcset="docs/a.md">
  <img alt="it" src="docs/b.yaml">
</picture>"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    lay_out(ROOT, folder)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project of three documents and a program."""
    for name in ("README.md", "docs/a.md", "docs/guides/README.md", "docs/b.yaml", "docs/page/icon.svg", "tests/t.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("# A\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "written", "shown"),
    [
        ("README.md", "[a](docs/a.md#b), [guides](docs/guides/README.md)", "[a](a.md#b), [guides](guides/index.md)"),
        ("docs/a.md", "[home](../README.md#x), [here](#y)", "[home](index.md#x), [here](#y)"),
        ("docs/guides/README.md", "![b](../b.yaml), [a](../a.md)", "![b](../b.yaml), [a](../a.md)"),
        ("docs/a.md", "[the test](../tests/t.py), [tests](../tests)", "the test (`tests/t.py`), tests (`tests`)"),
        ("docs/a.md", "[icon](page/icon.svg)", "icon (`docs/page/icon.svg`)"),
        ("docs/a.md", "[out](https://example.com/a), [mail](mailto:a@example.com)", None),
        ("docs/a.md", "```mermaid\na --> b\n```\n", '<pre class="mermaid">\na --&gt; b\n</pre>\n'),
        ("docs/a.md", '```python\nhandlers["GET"](event)\n```\n[a](a.md)', None),
        ("docs/a.md", "1. It:\n\n   ~~~md\n   [x](gone.md)\n   ```\n   [x](gone.md)\n   ~~~\n", None),
        ("docs/a.md", "```mermaid\na[b](c)\n```\n", '<pre class="mermaid">\na[b](c)\n</pre>\n'),
        ("docs/a.md", "`[x](gone.md)` and ``a`[x](gone.md)``", None),
        ("docs/a.md", "[`x`](../README.md), `y`, [`z`](../README.md)", "[`x`](index.md), `y`, [`z`](index.md)"),
        ("docs/a.md", "a ` alone\n\n[x](../README.md) `y`", "a ` alone\n\n[x](index.md) `y`"),
        (
            "README.md",
            PICTURE,
            "![it](b.yaml){.only-light}\n![it](a.md){.only-dark}",
        ),
    ],
)
def test_a_document_has_on_the_site_the_links_of_the_site(
    project: Path, name: str, written: str, shown: str | None
) -> None:
    (project / name).write_text(written)
    assert page(project, PurePosixPath(name)) == (written if shown is None else shown)


def test_a_link_to_a_file_that_is_not_there_is_an_error(project: Path) -> None:
    (project / "docs/a.md").write_text("[x](guides/gone.md)")
    with pytest.raises(BrokenLinkError, match=r"docs/a\.md: guides/gone\.md"):
        page(project, PurePosixPath("docs/a.md"))


def test_every_document_has_its_one_place_in_the_sidebar() -> None:
    parts = yaml.safe_load((ROOT / "tools/site/sidebar.yaml").read_text(encoding="utf-8"))
    entries = [next(iter(entry)) if isinstance(entry, dict) else entry for part in parts.values() for entry in part]
    decisions = {str(file.relative_to(ROOT)) for file in (ROOT / "docs/decisions").glob("0*.md")}
    patterns = ("*.md", ".github/*.md", "docs/**/*.md")
    documents = {str(file.relative_to(ROOT)) for pattern in patterns for file in ROOT.glob(pattern)}
    assert sorted(entries) == sorted({*documents, "reference"} - decisions - {"README.md"})


def test_the_sidebar_is_on_the_home_page_alone_and_the_decisions_are_below_their_list(sources: Path) -> None:
    lists = {str(file.relative_to(sources)): file.read_text() for file in sources.rglob("*.md")}
    assert [name for name in sorted(lists) if "{toctree}" in lists[name]] == ["decisions/index.md", "index.md"]
    assert "/decisions/0001-local-gateway\n" in lists["decisions/index.md"]
    assert "\nAPI reference </reference/index>\n" in lists["index.md"]


def test_the_search_finds_the_reference_page_by_its_operations(sources: Path) -> None:
    page = (sources / "reference/index.md").read_text()
    assert "- `GET /api/customers/group/{group_id}` listGroup: List a group\n" in page


def test_the_reference_page_leads_back_to_the_site_where_there_is_one(tmp_path: Path) -> None:
    for name, site in (("laptop", None), ("site", "../index.html")):
        write_reference(ROOT / "docs", tmp_path / name, ROOT / "node_modules", site=site)
    for name in ("index.html", "problems.html"):
        assert '<nav class="site"><a href="../index.html">' in (tmp_path / "site" / name).read_text()
        laptop = (tmp_path / "laptop" / name).read_text()
        assert "../" not in laptop
        assert "<!-- site -->" not in laptop


def test_links_that_lead_nowhere_and_what_is_loaded_from_elsewhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<p id="here"><a href="#here">x</a><a href="#gone">x</a>'
        '<a href="b/c.html#there">x</a><a href="b/c.html#no">x</a>'
        '<a href="https://example.com/">x</a><a href="../out.html">x</a><img src="gone.png"><a href="b">x</a>'
        '<img src="https://example.com/i.png"><script src="//example.com/s.js"></script>'
    )
    (tmp_path / "b").mkdir()
    (tmp_path / "b/c.html").write_text('<h1 id="there">x</h1><style>@import "https://example.com/f.css";</style>')
    (tmp_path / "b/s.css").write_text("a { background: url(https://example.com/b.png), url(data:x), url(own.png) }")
    (tmp_path.parent / "out.html").write_text("")
    assert broken_links(tmp_path) == [
        f"a.html: {address}" for address in ("#gone", "../out.html", "b", "b/c.html#no", "gone.png")
    ]
    assert loaded_from_elsewhere(tmp_path) == [
        "a.html: //example.com/s.js",
        "a.html: https://example.com/i.png",
        "b/c.html: https://example.com/f.css",
        "b/s.css: https://example.com/b.png",
    ]
