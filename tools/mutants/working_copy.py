"""A copy of the project in which mutmut can mutate the layer and the functions."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_SETTINGS: Final = Path(__file__).with_name("settings.toml")
_DECORATED: Final = re.compile(r"^@(endpoint|consumer)\ndef lambda_handler\((.*?\n)(?=^\S)", re.MULTILINE | re.DOTALL)


def make_copy(folder: Path) -> None:
    """Copy the files that git knows and new ones, in the form that mutmut needs.

    - The layer is in `src`, because mutmut derives a module's name from its path.
    - A handler is decorated after its definition, because mutmut leaves decorated functions as they are.

    Parameters
    ----------
    folder
        Where to put the copy. What is there is deleted.
    """
    shutil.rmtree(folder, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # noqa: S607 (git is on the PATH)
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        # Files are listed until their deletion is committed.
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    shutil.move(folder / "layers/customers/customers", folder / "src/customers")
    # Some tests read the layer's files, and start processes that run them.
    (folder / "layers/customers/customers").symlink_to("../../src/customers")
    for app in folder.glob("functions/*/app.py"):
        app.write_text(undecorated(app.read_text(encoding="utf-8")), encoding="utf-8")
    _configure(folder / "pyproject.toml")
    (folder / "mutants").mkdir()
    for parent in (folder, folder / "mutants"):
        (parent / "node_modules").symlink_to(ROOT / "node_modules")


def undecorated(source: str) -> str:
    """Return a function's source in which the handler is decorated after its definition."""
    return _DECORATED.sub(
        lambda found: f"def handle({found[2].rstrip()}\n\n\nlambda_handler = {found[1]}(handle)\n\n\n", source
    )


def _configure(project: Path) -> None:
    text = project.read_text(encoding="utf-8")
    path = 'pythonpath = ["layers/customers", "."]'
    if path not in text:
        raise RuntimeError(f"{project.name} has no {path}: say here where the tests find the layer")
    settings = _SETTINGS.read_text(encoding="utf-8")
    project.write_text(f"{text.replace(path, 'pythonpath = ["src", "."]')}\n{settings}", encoding="utf-8")
