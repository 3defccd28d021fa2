"""A fresh copy of the repository, and a shell in it as a newcomer has it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS: Final = 600
"""How long an installation may take on a busy machine."""


class Clone(NamedTuple):
    """A copy of the repository, and the output of the command that made its environment."""

    folder: Path
    first: subprocess.CompletedProcess[str]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder."""
        return run(self.folder, *command)


def environment(folder: Path) -> dict[str, str]:
    """Return what a newcomer's shell has: a home with nothing in it, and the system's programs.

    The downloads of earlier installations are shared. How this machine reaches package registries is part of it.
    """
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    reach = ("PIP_", "npm_config_", "NODE_EXTRA_CA_CERTS", "SSL_CERT_", "http_proxy", "https_proxy", "no_proxy")
    tools = str(Path(sys.executable).parent)
    path = os.pathsep.join(entry for entry in os.environ["PATH"].split(os.pathsep) if entry != tools)
    return {
        **{name: value for name, value in os.environ.items() if name.startswith(reach)},
        "HOME": str(home),
        "PATH": path,
        "PIP_CACHE_DIR": _output(sys.executable, "-m", "pip", "cache", "dir"),
        "npm_config_cache": _output("npm", "config", "get", "cache"),
        "PORT": "0",
    }


@cache
def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a copy."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def copy(folder: Path) -> Path:
    """Copy what a clone of the working tree would have."""
    tracked = _output("git", "-C", str(ROOT), "ls-files", "-z").split("\0")
    for name in tracked:
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            # With the modification times, by which make tells what is out of date.
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


@contextmanager
def serving(folder: Path, *make_run: str) -> Iterator[str]:
    """Run `make run` until the block ends. The value is what it has printed up to `ready`."""
    errors = folder.parent / "make-run-errors"
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            make_run or ("make", "run"),
            cwd=folder,
            env=environment(folder),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            # In a terminal, Ctrl-C reaches make and what it runs.
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout is not None
        printed = []
        try:
            for line in process.stdout:
                printed.append(line)
                if line.startswith("ready"):
                    break
            assert printed, errors.read_text()
            assert printed[-1].startswith("ready"), "".join(printed) + errors.read_text()
            yield "".join(printed)
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(SECONDS)
