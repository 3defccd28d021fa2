"""The processor time of a service on this machine, by its parts (Linux)."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_PARTS: Final = {"bootstrap.py": "functions", "dynoxide": "engine", "aws_server.py": "moto's server"}
"""By what the command lines of a part's processes contain. Any other process is the gateway's, with the pollers."""
_TICK: Final = 1_000_000 / os.sysconf("SC_CLK_TCK")
"""Microseconds of the unit in which the kernel tells them."""


class _Process(NamedTuple):
    parent: int
    spent: float
    """Microseconds in the program and in the kernel, of all threads."""
    command: str


def processor_time(root: int) -> dict[str, float]:
    """Return the microseconds that a process and all that it has started have run until now, by part.

    Parameters
    ----------
    root
        The process id of the service.
    """
    processes = _processes()
    spent: dict[str, float] = {}
    waiting = {root}
    while waiting:
        for pid in waiting:
            command = processes[pid].command
            part = next((part for sign, part in _PARTS.items() if sign in command), "gateway")
            spent[part] = spent.get(part, 0) + processes[pid].spent
        waiting = {pid for pid, process in processes.items() if process.parent in waiting}
    return spent


def _processes() -> dict[int, _Process]:
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        # It may end in the meantime.
        with suppress(FileNotFoundError, ProcessLookupError):
            # Its name, in brackets, may contain anything (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            spent = (int(fields[11]) + int(fields[12])) * _TICK
            found[int(folder.name)] = _Process(int(fields[1]), spent, (folder / "cmdline").read_text())
    return found
