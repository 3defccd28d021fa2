"""The guides, typed page by page into a fresh copy of the project, as a newcomer would."""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest

from tests.conftest import ROOT
from tests.environment.clone import SECONDS, copy, environment, serving
from tests.guides import GUIDES, Block, blocks, is_printed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.environment

ADDRESS: Final = "http://127.0.0.1:3000"
"""The address on the pages. The service in the test has another port."""
SOON: Final = 60
"""Seconds to wait for what comes after a moment."""


class Shell:
    """One shell for a page: what one block sets is still set in the next."""

    def __init__(self, folder: Path) -> None:
        self._scratch = folder.parent / "shell"
        self._scratch.mkdir()
        self._process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, commands: str, *, fails: bool = False) -> tuple[int | None, str]:
        """Type commands. Return the last one's exit code, or None if an earlier one failed, and what was printed."""
        script, output = self._scratch / "block.sh", self._scratch / "output"
        script.write_text(commands, encoding="utf-8")
        files = f". {shlex.quote(str(script))} >{shlex.quote(str(output))} 2>&1 </dev/null"
        # A shell that ends at the first failure cannot print the exit code any more.
        mode = "set +e" if fails else "set -e"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"set -o pipefail; {mode}; {files}; echo $?\n")
        self._process.stdin.flush()
        readable, _, _ = select.select([self._process.stdout], [], [], SECONDS)
        assert readable, commands
        code = self._process.stdout.readline().strip()
        return int(code) if code else None, output.read_text(encoding="utf-8")

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a copy of the project that shares only what was installed."""
    folder = copy(tmp_path / "customers-api")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    for name in (
        "package.json",
        "package-lock.json",
        "tools/scalar.mjs",
        "requirements/run.txt",
        "requirements/dev.txt",
    ):
        # Make these files older than what is installed. A copy must not install anything into what it shares.
        os.utime(folder / name, (0, 0))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_what_a_guide_says_works_when_it_is_typed(page: Path, folder: Path) -> None:
    with ExitStack() as stack:
        shell = Shell(folder)
        stack.callback(shell.close)
        address = ADDRESS
        for block in blocks(page):
            place = f"{page.name}:{block.line}: {block.text}"
            if block.language == "python" and block.file is not None and block.file.startswith("+"):
                _add(folder / block.file.removeprefix("+"), block.text)
            elif block.language == "sh" and block.text.startswith("make run"):
                printed = stack.enter_context(serving(folder, *shlex.split(block.text, comments=True)))
                address = printed.split()[-1]
                # Whether anything was still to install depends on what other tests have installed.
                printed = re.sub(r"^installing .*\n", "", printed, flags=re.MULTILINE)
                _compare(block, printed.replace(address, ADDRESS), place)
            elif block.language == "sh":
                _type(shell, block, address, place)


def _type(shell: Shell, block: Block, address: str, place: str) -> None:
    until = time.monotonic() + SOON
    while True:
        code, printed = shell.run(block.text.replace(ADDRESS, address), fails=block.fails or block.comes_soon)
        printed = printed.replace(address, ADDRESS)
        assert code is not None, f"{place}\nfailed:\n{printed}"
        if not block.comes_soon or time.monotonic() > until:
            break
        if code == 0 and block.printed is not None and is_printed(block.printed, printed):
            break
    assert code == int(block.fails), f"{place}\nexited with {code}:\n{printed}"
    _compare(block, printed, place)


def _compare(block: Block, printed: str, place: str) -> None:
    if block.printed is not None:
        assert is_printed(block.printed, printed), f"{place}\nprinted:\n{printed}\nand not:\n{block.printed.text}"


def _add(file: Path, field: str) -> None:
    """Add a field where the page says, at the end of `NewCustomer`."""
    text = file.read_text(encoding="utf-8")
    (end,) = re.findall(r"\n\n\nclass _Identity", text)
    indented = "".join(f"    {line}\n" if line else "\n" for line in field.splitlines())
    file.write_text(text.replace(end, f"\n{indented.rstrip()}{end}"), encoding="utf-8")
