"""Each thing that the README names, in a fresh copy of the repository, with an empty home and nothing else installed.

The environment that runs the tests has every package, so no other test notices a package that a newcomer lacks.
"""

from __future__ import annotations

import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.browser import a_browser_if_there_can_be_one, try_site
from tests.conftest import ROOT
from tests.environment.clone import Clone, copy, run, serving
from tests.site import broken_links, loaded_from_elsewhere

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.environment

NO_SERVICE: Final = "Error: No service is running in"
CURL: Final = "try "
API: Final = "https://api.example.com/prod"


@pytest.fixture(scope="module")
def clones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Clone, Clone]]:
    """Two clones. The first command in one was `./customers --help`, in the other `make docs`.

    `make docs` also makes the environment of `make run`, and it ends by itself.
    """
    firsts = (("./customers", "--help"), ("make", "docs", f"API={API}"))
    folders = [copy(tmp_path_factory.mktemp("clone") / "customers-api") for _ in firsts]
    with ThreadPoolExecutor() as pool:
        command_line, made_docs = pool.map(lambda folder, first: Clone(folder, run(folder, *first)), folders, firsts)
    yield command_line, made_docs
    for folder in folders:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def bare(clones: tuple[Clone, Clone]) -> Clone:
    return clones[0]


@pytest.fixture(scope="module")
def after_run(clones: tuple[Clone, Clone]) -> Clone:
    return clones[1]


@pytest.fixture(scope="module")
def developers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clone with the environment that runs the tests, which must not have more than its target installs."""
    pinned = set()
    for line in (ROOT / "requirements/dev.txt").read_text().splitlines():
        if not line.startswith((" ", "#")):
            requirement = Requirement(line.removesuffix("\\"))
            if requirement.marker is None or requirement.marker.evaluate():
                pinned.add(canonicalize_name(requirement.name))
    installed = {canonicalize_name(found.name) for found in distributions(path=[_site_packages()])}
    assert installed - pinned <= {"pip"}, "packages that no target installs: remove .venv, and run `make test`"
    folder = copy(tmp_path_factory.mktemp("developers") / "customers-api")
    (folder / ".venv").symlink_to(sys.prefix)
    yield folder
    shutil.rmtree(folder)


def _site_packages() -> str:
    return str(Path(pytest.__file__).parent.parent)


def test_the_command_line_installs_what_it_needs_in_a_bare_clone_and_says_so(bare: Clone) -> None:
    assert bare.first.returncode == 0, bare.first.stderr
    assert bare.first.stdout.startswith("Usage: customers ")
    assert "DATA_DIR" in bare.first.stdout
    assert "installing" in bare.first.stderr
    assert not (bare.folder / "node_modules").exists(), "for a deployed stack no database engine is needed"


def test_a_bare_clone_tells_its_version(bare: Clone) -> None:
    done = bare.run("./customers", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, "customers 1.0.0\n", "")


@pytest.mark.parametrize("command", [("token", "list"), ("import", "README.md"), ("import", "status")])
def test_a_bare_clone_says_that_no_service_is_running(bare: Clone, command: tuple[str, ...]) -> None:
    done = bare.run("./customers", *command)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(NO_SERVICE)
    assert len(done.stderr.splitlines()) == 1


def test_the_site_is_built_in_a_bare_clone_and_every_link_within_it_leads_somewhere(after_run: Clone) -> None:
    assert after_run.first.returncode == 0, after_run.first.stderr
    assert after_run.first.stdout.splitlines()[-1] == "build/docs/index.html"
    site = after_run.folder / "build/docs"
    assert broken_links(site) == []
    assert loaded_from_elsewhere(site) == []
    assert f"servers:\n- url: {API}\n" in (site / "reference/openapi.yaml").read_text(encoding="utf-8")


def test_every_page_of_the_site_has_the_same_sidebar_with_every_document_in_it(after_run: Clone) -> None:
    site = after_run.folder / "build/docs"
    pages = {file.relative_to(site) for file in site.rglob("*.html")}
    # The reference has its own sidebar, which leads back.
    pages -= {Path("reference/index.html"), Path("reference/problems.html")}
    sidebars = {page: _sidebar(site, page) for page in sorted(pages)}
    home = sidebars[Path("index.html")]
    assert set(home) == {str(page) for page in pages - {Path("index.html"), Path("search.html")}} | {
        "reference/index.html"
    }
    assert {page for page, sidebar in sidebars.items() if sidebar != home} == set()


def _sidebar(site: Path, page: Path) -> list[str]:
    """Return the pages that a page's sidebar has, in order."""
    text = (site / page).read_text(encoding="utf-8")
    (tree,) = re.findall(r'<div class="sidebar-tree">(.*?)\n</div>', text, re.DOTALL)
    links = re.findall(r'<a class="[^"]*reference internal[^"]*" href="([^"]*)"', tree)
    return [
        str((site / page.parent / link if link != "#" else site / page).resolve().relative_to(site)) for link in links
    ]


def test_the_site_works_in_a_browser_and_asks_nobody_else(after_run: Clone) -> None:
    with a_browser_if_there_can_be_one():
        seen = try_site(after_run.folder / "build/docs")
    assert "3. Cursors are encrypted with a key that is kept with the data" in seen["found"]["server"]
    assert seen["found"]["folder"] == seen["found"]["server"]
    assert seen["hops"] == ["/reference/index.html", "/index.html"]
    assert seen["diagrams"]["light"] == seen["diagrams"]["dark"] > 20
    assert seen["backgrounds"]["light"] != seen["backgrounds"]["dark"]
    assert seen["tooWide"] == []
    assert seen["foreign"] == []
    assert seen["errors"] == []


def test_a_link_to_a_heading_that_is_not_there_fails_the_build_and_leaves_the_site(after_run: Clone) -> None:
    page = after_run.folder / "docs/cost.md"
    before = page.read_bytes()
    page.write_bytes(before + b"\n[x](operations.md#no-such-heading)\n")
    done = after_run.run("make", "docs")
    page.write_bytes(before)
    assert done.returncode == 2
    assert "cost.md:" in done.stderr
    assert "no-such-heading" in done.stderr
    assert (after_run.folder / "build/docs/index.html").is_file()


def test_the_service_and_then_the_command_line_work_after_make_run_alone(after_run: Clone) -> None:
    file = after_run.folder.parent / "five.csv"
    rows = ["A,B,a@example.com,1", "A,B,nobody,1", "A,B,c@example.com,1", ",B,d@example.com,1", "A,B,e@example.com,1"]
    file.write_text("\n".join(["first_name,last_name,email,group_id", *rows, ""]))
    with serving(after_run.folder) as printed:
        (curl,) = [line.removeprefix(CURL).strip() for line in printed.splitlines() if line.startswith(CURL)]
        answer = after_run.run("sh", "-c", curl)
        tokens = after_run.run("./customers", "token", "list")
        imported = after_run.run("./customers", "import", str(file))
    assert answer.stdout == '{"valid":true,"count":1}', answer
    assert (tokens.returncode, tokens.stderr) == (0, "")
    assert "laptop" in tokens.stdout
    assert (imported.returncode, imported.stderr) == (1, "")
    first, *rejected, report = imported.stdout.splitlines()
    assert first.endswith("five.csv: 3 created, 2 rejected")
    assert [line.split(":")[0].strip() for line in rejected] == ["row 2, email", "row 4, first_name"]
    assert report.rpartition(" ")[2].startswith(".local/import-bucket/reports/five.csv/")


def test_a_client_is_generated_in_the_developers_environment(developers: Path) -> None:
    done = run(developers, "make", "client")
    assert done.returncode == 0, done.stderr
    assert (developers / "build" / "client" / "customers_api_client" / "client.py").is_file()


def test_sam_local_gets_as_far_as_it_can_without_a_service(developers: Path) -> None:
    done = run(developers, "make", "sam-local")
    assert done.returncode != 0
    assert "error: no service in .local: start one with `make run`" in done.stderr
    assert "Traceback" not in done.stderr
