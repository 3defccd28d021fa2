"""The logs of the functions and of what serves them: files that stay small."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

MAX_SIZE: Final = 5_000_000
"""Bytes of a log; as many older ones are kept beside it."""


def older(log: Path) -> Path:
    """Return the file with what was in a log before."""
    return log.with_name(f"{log.name}.1")


def shorten(folder: Path) -> None:
    """Put the lines of each log that has grown too large aside, in place of those that were put aside before.

    The processes that write to a log go on: they append, wherever it ends. A line that is written in the moment
    between the copy and the cut is lost.
    """
    for log in folder.glob("*.log"):
        if log.stat().st_size > MAX_SIZE:
            partial = log.with_suffix(".partial")
            shutil.copyfile(log, partial)
            partial.replace(older(log))
            os.truncate(log, 0)
