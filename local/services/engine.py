"""DynamoDB on the laptop: Dynoxide, a server that keeps its tables in an SQLite file."""

from __future__ import annotations

import platform
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from local.errors import LocalError
from local.services.server_process import HOST, ServerProcess, free_port

_PLATFORMS: Final = {
    ("Linux", "x86_64"): "linux-x64",
    ("Linux", "aarch64"): "linux-arm64",
    ("Darwin", "arm64"): "darwin-arm64",
    ("Darwin", "x86_64"): "darwin-x64",
}


class Engine(ServerProcess):
    """A running Dynoxide. What was written stays on disk, however it ends.

    Parameters
    ----------
    packages
        The folder `node_modules`.
    database
        The SQLite file. None for one that is removed at the end.
    log
        File for its output.

    Raises
    ------
    LocalError
        If it is not installed or does not start.
    """

    def __init__(self, packages: Path, database: Path | None, log: Path) -> None:
        port = free_port()
        command = [str(_program(packages)), "--host", HOST, "--port", str(port)]
        self._folder: TemporaryDirectory[str] | None = None
        if database is None:
            self._folder = TemporaryDirectory(prefix="customers-")
            database = Path(self._folder.name, "dynamodb.sqlite")
        command += ["--db-path", str(database)]
        super().__init__("database engine", command, port, log)
        try:
            self.wait_until_ready()
            _index_streams(database)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop it."""
        super().close()
        if self._folder is not None:
            self._folder.cleanup()


def _index_streams(database: Path) -> None:
    """Let the engine find a stream's last record, as it does at every write, without reading all of them."""
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        connection.execute(
            "CREATE INDEX IF NOT EXISTS local_stream_position"
            " ON _stream_records (table_name, CAST(sequence_number AS INTEGER))"
        )


def _program(packages: Path) -> Path:
    system, machine = platform.system(), platform.machine()
    name = _PLATFORMS.get((system, machine))
    if name is None:
        raise LocalError(f"there is no database engine for {system} on {machine}")
    program = packages / "@dynoxide" / name / "dynoxide"
    if not program.is_file():
        raise LocalError(
            f"the database engine @dynoxide/{name} is not installed. Remove node_modules and use `make run`. "
            "npm leaves the engine out if what it downloads differs from the hash in package-lock.json"
        )
    return program
