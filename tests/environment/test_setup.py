"""Setup looks for what it needs before it installs anything, and says how to get what is missing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

TOOLS = ("bash", "sh", "make", "awk", "cat", "rm", "touch")
WITH_NPM = re.findall(r"^([a-z-]+):.*node_modules/\.ready", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the project as a clone has it, with a folder `bin`, the only place where programs are found."""
    made = shutil.ignore_patterns(".*", "__pycache__", "build", "node_modules")
    shutil.copytree(ROOT, tmp_path, ignore=made, dirs_exist_ok=True)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None, tool
        (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def make(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments],
        cwd=project,
        env={"PATH": str(project / "bin"), "HOME": str(project), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def add(project: Path, name: str, program: str) -> None:
    file = project / "bin" / name
    file.write_text(f"#!/bin/sh\n{program}\n")
    file.chmod(0o755)


@pytest.mark.parametrize("target", WITH_NPM)
def test_a_missing_npm_is_told_before_anything_is_installed(project: Path, target: str) -> None:
    # This Python works: without the check, it would be used now.
    add(project, "python3.13", f'exec {sys.executable} "$@"')
    done = make(project, target)
    assert done.returncode == 2
    assert "npm is needed" in done.stderr
    for system in ("Debian, Ubuntu", "Fedora", "macOS"):
        assert f"\n  {system} " in done.stderr
    assert done.stdout == ""
    assert not (project / ".venv").exists()


def test_what_needs_no_npm_does_not_ask_for_it(project: Path) -> None:
    add(project, "python3.13", f'exec {sys.executable} "$@"')
    assert make(project, ".venv/pyvenv.cfg").returncode == 0
    assert (project / ".venv" / "bin" / "pip").exists()


@pytest.mark.parametrize("other", [None, "exit 127", "exit 1"])
def test_a_missing_python_is_told_with_how_to_get_it(project: Path, other: str | None) -> None:
    """The same holds for a `python3.13` that does not run (pyenv leaves such files), or another version of Python."""
    add(project, "npm", "exit 1")
    if other is not None:
        add(project, "python3.13", other)
        add(project, "python3", other)
    done = make(project, "run")
    assert done.returncode == 2
    assert "Python 3.13 is needed" in done.stderr
    for system in ("any system", "Debian 13", "Ubuntu", "Fedora", "macOS"):
        assert f"\n  {system} " in done.stderr
    assert not (project / ".venv").exists()


def test_a_python3_of_the_right_version_is_enough(project: Path) -> None:
    add(project, "python3", f'exec {sys.executable} "$@"')
    assert make(project, ".venv/pyvenv.cfg").returncode == 0
    assert "version = 3.13." in (project / ".venv" / "pyvenv.cfg").read_text()


def test_uv_fetches_a_missing_python(project: Path) -> None:
    (project / "bin" / "uv").symlink_to(Path(sys.executable).with_name("uv"))
    # Put it where uv keeps what it has fetched: here, there is no network to fetch it from.
    version = ".".join(map(str, sys.version_info[:3]))
    machine = "linux-x86_64-gnu" if sys.platform == "linux" else "macos-aarch64-none"
    kept = project / "pythons" / f"cpython-{version}-{machine}"
    kept.mkdir(parents=True)
    for name in ("bin", "include", "lib", "share"):
        (kept / name).symlink_to(Path(sys.base_prefix) / name)
    settings = {"UV_PYTHON_INSTALL_DIR": str(project / "pythons"), "UV_OFFLINE": "1"}
    done = make(project, ".venv/pyvenv.cfg", **settings)
    assert done.returncode == 0, done.stderr
    assert "fetching Python 3.13 with uv" in done.stdout
    assert "version = 3.13." in (project / ".venv" / "pyvenv.cfg").read_text()


def test_a_fetch_that_fails_says_how_else_to_get_python(project: Path) -> None:
    (project / "bin" / "uv").symlink_to(Path(sys.executable).with_name("uv"))
    done = make(project, ".venv/pyvenv.cfg", UV_OFFLINE="1", UV_PYTHON_INSTALL_DIR=str(project / "pythons"))
    assert done.returncode == 2
    assert "Python 3.13 is needed" in done.stderr
    assert not (project / ".venv").exists()


def test_an_environment_that_cannot_be_made_leaves_nothing_half_done(project: Path) -> None:
    """As on Debian without python3.13-venv: the folder is there, but pip is not."""
    add(project, "python3.13", f'[ "$1" = -c ] && exec {sys.executable} "$@"; "$MKDIR" .venv; exit 1')
    mkdir = shutil.which("mkdir")
    assert mkdir is not None
    done = make(project, ".venv/pyvenv.cfg", MKDIR=mkdir)
    assert done.returncode == 2
    assert "apt install python3.13-venv" in done.stderr
    assert not (project / ".venv").exists()
