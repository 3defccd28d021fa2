"""Tries the reference page in a browser; `python -m tests.browser FOLDER` puts its pictures for the README there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conftest import ROOT, running_service

if TYPE_CHECKING:
    from tests.conftest import Service


class NoBrowserError(Exception):
    """There is no browser, and it cannot be installed; the text says what to do."""


def try_reference(service: Service, pictures: Path | None = None) -> dict[str, Any]:
    """Open the page and call operations; give what the page showed, and put pictures of it into a folder.

    Raises
    ------
    NoBrowserError
        There is no browser.
    """
    found = subprocess.run([ROOT / "tools/lint/browser.sh"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise NoBrowserError(found.stderr.strip())
    command = ["node", "tools/lint/try_docs.mjs", service.url]
    tried = subprocess.run(
        [*command, *([] if pictures is None else [str(pictures)])],
        cwd=ROOT,
        env={**os.environ, "CHROMIUM": found.stdout.splitlines()[-1]},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert tried.returncode == 0, tried.stderr
    shown: dict[str, Any] = json.loads(tried.stdout)
    return shown


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, running_service(Path(folder), "--in-memory") as laptop:
        try_reference(laptop, Path(folder))
        for look in ("light", "dark"):
            shutil.copyfile(Path(folder, f"desktop-{look}.png"), Path(sys.argv[1], f"reference-{look}.png"))
