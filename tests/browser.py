"""Tries the reference page in a browser; `python -m tests.browser PICTURE` takes a picture of it as well."""

from __future__ import annotations

import json
import os
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


def try_reference(service: Service, picture: Path | None = None) -> dict[str, Any]:
    """Open the page, authorize, and call operations; give what the page showed.

    Raises
    ------
    NoBrowserError
        There is no browser.
    """
    found = subprocess.run([ROOT / "tools/lint/browser.sh"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise NoBrowserError(found.stderr.strip())
    command = ["node", "tools/lint/try_docs.mjs", service.url, str(service.data / "token")]
    tried = subprocess.run(
        [*command, *([] if picture is None else [str(picture)])],
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
        try_reference(laptop, Path(sys.argv[1]))
