"""The folder for the data of the laptop's service (DATA_DIR): private to its owner, used by one process at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from typing import TYPE_CHECKING, Final, TextIO

from local.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATABASE: Final = "dynamodb.sqlite"
ENDPOINTS: Final = "endpoints.json"
IMPORT_BUCKET: Final = "import-bucket"
IN_MEMORY: Final = "in-memory"
LOGS: Final = "logs"
LOCK: Final = "lock"
TOKEN: Final = "token"  # noqa: S105 - a file's name
NAMES: Final = (
    DATABASE,
    f"{DATABASE}-shm",
    f"{DATABASE}-wal",
    ENDPOINTS,
    f"{ENDPOINTS}.partial",
    "events.jsonl",
    IMPORT_BUCKET,
    IN_MEMORY,
    LOGS,
    "reference",
    "sam-local.json",
    "stack-id",
    "streams",
    TOKEN,
    f"{TOKEN}.partial",
)
"""Everything that the service keeps in its folder, apart from the lock. Nothing else there is ever touched."""
_MIN_FREE: Final = 50_000_000
"""Bytes. A new service takes 10 MB, and the engine's write-ahead log grows by as much while it works."""
_FULL: Final = 1_000_000
"""Bytes. With less free space, writes are about to fail."""
_ELSEWHERE: Final = "choose another folder: DATA_DIR=… make run"
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)


class DataFolder:
    """The folder, locked by this process until it is closed.

    Parameters
    ----------
    path
        The folder. Created if it is missing.
    temporary
        Whether the service's data there is deleted, now and at the end.

    Raises
    ------
    LocalError
        If the service cannot keep its data there.
    """

    def __init__(self, path: Path, *, temporary: bool) -> None:
        self.path = path
        self._temporary = temporary
        self._identities: dict[Path, os.stat_result] = {}
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(path)
        except OSError as error:
            raise unusable(path, error) from error
        try:
            self.remember(path / LOCK)
            if temporary:
                _clear(path)
            make_private(path)
            (path / LOGS).mkdir(mode=0o700, exist_ok=True)
            free = shutil.disk_usage(path).free
        except OSError as error:
            raise unusable(path, error) from error
        if free < _MIN_FREE:
            raise LocalError(
                f"the disk that holds {path} is full: {free / 1e6:.0f} MB are free, and the service needs "
                f"{_MIN_FREE / 1e6:.0f} MB. Free some space, or {_ELSEWHERE}"
            )

    def remember(self, file: Path) -> None:
        """Note a file that the service cannot do without."""
        self._identities[file] = file.stat()

    def lost(self) -> Path | None:
        """Return what was deleted or replaced: the folder, or a file that was noted. None if all is there."""
        if not self.path.is_dir():
            return self.path
        for file, identity in self._identities.items():
            try:
                if not os.path.samestat(file.stat(), identity):
                    return file
            except FileNotFoundError:
                return file
        return None

    def full(self) -> bool:
        """Whether the disk has no space left."""
        try:
            return shutil.disk_usage(self.path).free < _FULL
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Release the folder."""
        if self._temporary:
            _remove(self.path)
        self._lock.close()


def delete(path: Path) -> None:
    """Delete the service's data in a folder, and the folder if nothing else is in it.

    Raises
    ------
    LocalError
        If a service is using it.
    """
    if in_use(path / IN_MEMORY):
        raise _taken(path / IN_MEMORY)
    with _lock(path):
        _remove(path)


def in_use(path: Path) -> bool:
    """Whether a service is using a folder."""
    try:
        with (path / LOCK).open("r", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def make_private(path: Path) -> None:
    """Remove any access that earlier versions, or a wider umask, gave to others than the owner.

    The folder itself is left as it is if it also holds other files: it may be someone's home folder.
    """
    if all(entry.name in NAMES or entry.name == LOCK for entry in path.iterdir()):
        path.chmod(0o700)
    (path / LOCK).chmod(0o600)
    for file in _own(path):
        for entry in (file, *(file.rglob("*") if file.is_dir() else ())):
            # A link may lead out of the folder, and a file may have a second name outside it.
            if entry.is_dir() and not entry.is_symlink():
                entry.chmod(0o700)
            elif (
                entry.is_file()
                and not entry.is_symlink()
                and entry.stat().st_nlink == 1
                # In the inbox, a change of mode would look like a new file. The inbox itself is private.
                and entry.stat().st_mode & 0o077
                and not entry.is_relative_to(path / IMPORT_BUCKET / "imports")
            ):
                entry.chmod(0o600)


def unusable(path: Path, error: OSError) -> LocalError:
    """Return the error that says why data cannot be kept in a folder, and what to do."""
    place = error.filename or path
    match error.errno:
        case errno.EEXIST | errno.ENOTDIR:
            parts = [part for part in (path, *path.parents) if part.exists() and not part.is_dir()]
            return LocalError(f"{parts[0] if parts else place} is a file, and the data needs a folder: {_ELSEWHERE}")
        case errno.EROFS:
            return LocalError(f"{path} is on a read-only file system: {_ELSEWHERE}")
        case errno.EACCES | errno.EPERM:
            return LocalError(f"you are not allowed to write to {place}: change its owner, or {_ELSEWHERE}")
        case number if number in _NO_SPACE:
            return LocalError(f"the disk that holds {path} is full: free some space, or {_ELSEWHERE}")
        case _:
            return LocalError(f"{place}: {error.strerror}: {_ELSEWHERE}")


def _lock(path: Path) -> TextIO:
    """Lock a folder until the returned file is closed. The system releases the lock however this process ends."""
    lock = (path / LOCK).open("a", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise _taken(path) from error
    return lock


def _taken(path: Path) -> LocalError:
    return LocalError(f"{path} is in use by another `make run`. Stop that one, or {_ELSEWHERE}")


def _remove(path: Path) -> None:
    _clear(path)
    (path / LOCK).unlink(missing_ok=True)
    # Other files there are not ours to delete.
    with contextlib.suppress(OSError):
        path.rmdir()


def _clear(path: Path) -> None:
    for file in _own(path):
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file, ignore_errors=True)
        else:
            file.unlink(missing_ok=True)


def _own(path: Path) -> Iterator[Path]:
    return (path / name for name in NAMES if os.path.lexists(path / name))
