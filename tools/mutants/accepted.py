"""Mutants that may survive, and why."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

_LIST: Final = Path(__file__).with_name("accepted.toml")


class Survivor(NamedTuple):
    """A mutant that no test noticed."""

    name: str
    """As mutmut names it."""
    change: str
    """The lines that it changes: `old → new`."""

    @property
    def function(self) -> str:
        """Its function's name, with its class and module."""
        return self.name.partition("__mutmut_")[0].replace(".x_", ".").replace(".xǁ", ".").replace("ǁ", ".")


class _Accepted(NamedTuple):
    function: str
    """A pattern for functions, as in the shell."""
    change: str
    """A regular expression for changes."""
    reason: str

    def fits(self, survivor: Survivor) -> bool:
        return fnmatch.fnmatchcase(survivor.function, self.function) and bool(re.search(self.change, survivor.change))


class AcceptedSurvivors:
    """The list in `accepted.toml`."""

    def __init__(self) -> None:
        entries = tomllib.loads(_LIST.read_text(encoding="utf-8"))["accepted"]
        self._entries = [_Accepted(**entry) for entry in entries]

    def reason(self, survivor: Survivor) -> str | None:
        """Return why a mutant may survive. None if no reason is given."""
        return next((accepted.reason for accepted in self._entries if accepted.fits(survivor)), None)


def change_in(diff: str) -> str:
    """Return the lines that a diff changes: `old → new`."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    old, new = (" ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return f"{old} → {new}"
