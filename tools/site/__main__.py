"""Builds the site: `python -m tools.site FOLDER [--api URL]`."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from local.reference import write_reference
from tools.site.sources import REFERENCE, BrokenLinkError, lay_out

if TYPE_CHECKING:
    from collections.abc import Sequence

_PYTHON: Final = ".venv/site/bin/python"
"""Sphinx has its own environment."""


class SphinxError(Exception):
    """What Sphinx says is wrong, and on which pages."""


def build(root: Path, folder: Path, api: str | None) -> None:
    """Build the site, and replace the folder with it.

    Parameters
    ----------
    root
        The project.
    folder
        Where to put it.
    api
        The address that the reference page calls. None for the page's own address.

    Raises
    ------
    BrokenLinkError
        A document links to a file that the project does not have.
    SphinxError
        Something is wrong, such as a link to a heading that does not exist.
    """
    with TemporaryDirectory() as scratch:
        sources, built = Path(scratch, "sources"), Path(scratch, "built")
        lay_out(root, sources)
        options = ["--quiet", "--fail-on-warning", "--no-color", "--conf-dir", str(root / "tools/site")]
        command = [str(root / _PYTHON), "-m", "sphinx", *options, "--doctree-dir", f"{scratch}/read"]
        done = subprocess.run([*command, str(sources), str(built)], capture_output=True, text=True, check=False)  # noqa: S603 - its own Sphinx
        if done.returncode:
            raise SphinxError(done.stderr.replace(f"{sources}/", "").strip())
        # Sphinx's own notes, for a second build.
        for name in ("objects.inv", ".buildinfo"):
            (built / name).unlink(missing_ok=True)
        write_reference(root / "docs", built / REFERENCE, root / "node_modules", api, site="../index.html")
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(built, folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the site.

    Returns
    -------
    int
        The exit code: 0, or 1 if something is wrong with a document.
    """
    parser = argparse.ArgumentParser(prog="tools.site", description="Build a site from the documents.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--api", metavar="URL", help="the API's address: the stack's output ApiUrl")
    options = parser.parse_args(arguments)
    try:
        build(Path.cwd(), options.folder, options.api)
    except BrokenLinkError as error:
        print(f"error: no such file: {error}", file=sys.stderr)
        return 1
    except SphinxError as error:
        print(error, file=sys.stderr)
        return 1
    print(options.folder / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
