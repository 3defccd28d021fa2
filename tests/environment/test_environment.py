"""What the README names, each in a fresh copy of the repository, with an empty home and nothing else installed.

The environment that runs the tests has every package, so no other test notices one that is missing where people start.
"""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tests.environment.clone import Clone, copy, run, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.environment

NO_SERVICE: Final = "Error: No service is running in"
CURL: Final = "try "


@pytest.fixture(scope="module")
def clones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Clone, Clone]]:
    """Two clones: what was done first in one is `./customers --help`, in the other `make docs`.

    `make docs` makes its environment by the targets of `make run`, and ends by itself.
    """
    firsts = (("./customers", "--help"), ("make", "docs"))
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
    """A clone with the environment that runs the tests, which must be no more than its target installs."""
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


def test_the_reference_page_is_written_in_a_bare_clone(after_run: Clone) -> None:
    assert after_run.first.returncode == 0, after_run.first.stderr
    assert after_run.first.stdout.splitlines()[-1] == "build/docs/index.html"
    assert (after_run.folder / "build" / "docs" / "index.html").is_file()


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
