"""Tries pages in a browser; `python -m tests.browser FOLDER` puts the README's pictures of the reference page there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ROOT, running_service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Service


class NoBrowserError(Exception):
    """There is no browser, and it cannot be installed; the text says what to do."""


@contextmanager
def a_browser_if_there_can_be_one() -> Iterator[None]:
    """Skip the test without a browser, unless one could have been installed."""
    try:
        yield
    except NoBrowserError as error:
        if "CI" in os.environ or os.getuid() == 0:
            raise
        pytest.skip(str(error))


def try_reference(service: Service, pictures: Path | None = None) -> dict[str, Any]:
    """Open the page and call operations. Return what the page showed, and put pictures of it into a folder.

    Raises
    ------
    NoBrowserError
        There is no browser.
    """
    return _try("try_docs.mjs", service.url, *([] if pictures is None else [str(pictures)]))


def try_site(folder: Path) -> dict[str, Any]:
    """Open the site that `make docs` has built, from a web server and from its folder. Return what its pages showed.

    Raises
    ------
    NoBrowserError
        There is no browser.
    """
    pages = sorted(str(page.relative_to(folder)) for page in folder.rglob("*.html"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder))) as server:
        Thread(target=server.serve_forever).start()
        try:
            return _try("try_site.mjs", f"http://127.0.0.1:{server.server_port}", str(folder), *pages)
        finally:
            server.shutdown()


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _try(program: str, *arguments: str) -> dict[str, Any]:
    found = subprocess.run([ROOT / "tools/lint/browser.sh"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise NoBrowserError(found.stderr.strip())
    tried = subprocess.run(
        ["node", f"tools/lint/{program}", *arguments],
        cwd=ROOT,
        env={**os.environ, "CHROMIUM": found.stdout.splitlines()[-1]},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert tried.returncode == 0, tried.stderr
    shown: dict[str, Any] = json.loads(tried.stdout)
    return shown


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, running_service(Path(folder), "--in-memory") as laptop:
        try_reference(laptop, Path(folder))
        for look in ("light", "dark"):
            shutil.copyfile(Path(folder, f"desktop-{look}.png"), Path(sys.argv[1], f"reference-{look}.png"))
