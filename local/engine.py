"""DynamoDB on the laptop: Dynoxide, a server that keeps its tables in an SQLite file."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final

from local.errors import LocalError
from local.server_process import HOST, ServerProcess, free_port

if TYPE_CHECKING:
    from pathlib import Path

_PLATFORMS: Final = {
    ("Linux", "x86_64"): "linux-x64",
    ("Linux", "aarch64"): "linux-arm64",
    ("Darwin", "arm64"): "darwin-arm64",
    ("Darwin", "x86_64"): "darwin-x64",
}


class Engine(ServerProcess):
    """A running Dynoxide. What was written is on disk, however it ends.

    Parameters
    ----------
    packages
        The folder `node_modules`.
    database
        The SQLite file; None to keep everything in memory.
    log
        File for its output.

    Raises
    ------
    LocalError
        If it is not installed or does not come up.
    """

    def __init__(self, packages: Path, database: Path | None, log: Path) -> None:
        port = free_port()
        command = [str(_program(packages)), "--host", HOST, "--port", str(port)]
        if database is not None:
            command += ["--db-path", str(database)]
        super().__init__("database engine", command, port, log)
        try:
            self.wait_until_ready()
        except BaseException:
            self.close()
            raise


def _program(packages: Path) -> Path:
    system, machine = platform.system(), platform.machine()
    name = _PLATFORMS.get((system, machine))
    if name is None:
        raise LocalError(f"there is no database engine for {system} on {machine}")
    program = packages / "@dynoxide" / name / "dynoxide"
    if not program.is_file():
        raise LocalError(
            f"the database engine @dynoxide/{name} is not installed: remove node_modules and use `make run`"
        )
    return program
