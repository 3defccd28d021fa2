"""The import bucket as a folder: files dropped into it are uploaded, and reports appear in it."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from boto3.s3.transfer import TransferConfig

from local.events.poller import FAILURES, Poller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

LOGICAL_ID: Final = "ImportBucket"
"""The template's bucket that has this folder."""
PUT_AT: Final = "put-at"
"""The object's metadata that says when the file came into the folder, in nanoseconds. `aws_server.py` puts it into the
event, so that after a restart the file does not overwrite what was changed since.
"""
_INBOX: Final = "imports"
_REPORTS: Final = "reports"
_INTERVAL: Final = 0.5
"""Seconds between two checks."""
_QUIET: Final = 3.0
"""Seconds that a file must stay unchanged before it is uploaded: many programs write a file in several steps."""
_TEMPORARY: Final = re.compile(
    r"\..*|~\$.*|#.*#|.*(?:~|\.(?:tmp|part|partial|filepart|crdownload|download|swp|bak))", re.DOTALL | re.IGNORECASE
)
"""Names that editors, browsers and file transfers use for their own files, and for incomplete ones."""
_LONGEST_KEY: Final = 1024
"""Bytes: S3's limit."""
# Upload in parts, one after another, so that no file is ever in memory as a whole. Even a small file is one part: with
# a plain PUT, moto sends the event before it has the metadata.
_TRANSFER: Final = TransferConfig(multipart_threshold=1, multipart_chunksize=8 * 1024 * 1024, use_threads=False)


class _State(NamedTuple):
    """What shows that a file has changed."""

    size: int
    modified_ns: int
    inode: int


class _Seen(NamedTuple):
    """A file as the last check found it."""

    state: _State
    since: float
    """When it was first found like this, on the monotonic clock."""


class ImportBucketFolder(Poller):
    """Keeps a folder and the bucket in step until it is closed.

    After a restart the bucket is empty, and running imports are lost. So files in the inbox are uploaded again, unless
    they have a report. Each is a new import, dated by when the file came into the folder.

    Parameters
    ----------
    folder
        The folder. Created with the inbox in it.
    s3
        Client of the server with the bucket.
    bucket
        The bucket's name.
    """

    def __init__(self, folder: Path, s3: S3Client, bucket: str) -> None:
        super().__init__("the bucket", "import bucket")
        self._folder = folder
        self._s3 = s3
        self._bucket = bucket
        self._seen: dict[str, _Seen] = {}
        self._mirrored: dict[str, str] = {}
        self._said: set[str] = set()
        for name in (_INBOX, _REPORTS):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._uploaded: dict[str, _State] = dict(self._reported())
        self._forget = threading.Event()

    def forget(self) -> None:
        """Treat the bucket as empty, as after a restart."""
        self._forget.set()

    def _look(self) -> None:
        if self._closing.wait(_INTERVAL):
            return
        if self._forget.is_set():
            self._forget.clear()
            self._uploaded = dict(self._reported())
            self._mirrored.clear()
        self._upload_what_is_new()
        self._fetch_reports()

    def _reported(self) -> Iterator[tuple[str, _State]]:
        """Yield the files in the inbox that have a report written after they came there."""
        for name, state in _files(self._folder / _INBOX):
            try:
                there_since = (self._folder / _INBOX / name).stat().st_ctime_ns
                reports = (self._folder / _REPORTS / name).glob("*/summary.json")
                if any(report.stat().st_mtime_ns > there_since for report in reports):
                    yield name, state
            except FileNotFoundError:
                continue

    def _upload_what_is_new(self) -> None:
        now = time.monotonic()
        before = self._seen
        self._seen = {
            name: before[name] if name in before and before[name].state == state else _Seen(state, now)
            for name, state in _files(self._folder / _INBOX)
        }
        self._uploaded = {name: state for name, state in self._uploaded.items() if name in self._seen}
        for name, (state, since) in self._seen.items():
            if self._uploaded.get(name) == state or self._closing.is_set() or self._leads_out(name):
                continue
            # A file that is still being written changes again, or is open for writing.
            if now - since < _QUIET or _is_written(self._folder / _INBOX / name):
                continue
            if (reason := _unusable(f"{_INBOX}/{name}")) is not None:
                self._say_once(f"{name!r} cannot be imported: its name {reason}. Rename it.")
            else:
                try:
                    path = self._folder / _INBOX / name
                    put = {PUT_AT: str(path.stat().st_ctime_ns)}
                    self._s3.upload_file(
                        str(path), self._bucket, f"{_INBOX}/{name}", ExtraArgs={"Metadata": put}, Config=_TRANSFER
                    )
                except FileNotFoundError:
                    # The file was removed since.
                    continue
                except PermissionError as error:
                    self._say_once(f"{name} cannot be imported: {error.strerror}")
                except FAILURES as error:
                    # Retried at the next check; go on with the other files. At the end, the server stops first.
                    if not self._closing.is_set():
                        self._say_once(f"{name} is not uploaded yet: {error}")
                    continue
            # If the file changed during the upload, its state differs, and it is uploaded again.
            self._uploaded[name] = state

    def _leads_out(self, name: str) -> bool:
        """Whether a file is a link to one outside the inbox, which the link's author may not be allowed to read."""
        inside = _is_inside(self._folder / _INBOX / name, self._folder / _INBOX)
        if not inside:
            self._say_once(f"{name!r} is not imported: it is a link to a file outside the folder. Copy that file.")
        return not inside

    def _fetch_reports(self) -> None:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=f"{_REPORTS}/")
        for item in (item for page in pages for item in page.get("Contents", [])):
            key, tag = item["Key"], item["ETag"]
            if self._mirrored.get(key) == tag or key.endswith("/"):
                continue
            if any(part in {"", ".", ".."} for part in key.split("/")):
                self._say_once(f"{key} is not written: it cannot be the name of a file")
                continue
            target = self._folder / PurePosixPath(key)
            # Not among the reports, where someone may read it before it is complete.
            partial = self._folder / ".partial"
            try:
                if not _is_inside(target.parent, self._folder):
                    self._say_once(f"{key} is not written: its folder is a link to another place")
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                self._s3.download_file(self._bucket, key, str(partial), Config=_TRANSFER)
                partial.replace(target)
                self._mirrored[key] = tag
            except OSError as error:
                self._say_once(f"{key} cannot be written: {error.strerror}")
            finally:
                partial.unlink(missing_ok=True)

    def _say_once(self, text: str) -> None:
        # The next check finds the same.
        if text not in self._said:
            self._said.add(text)
            self._say(text)


def _unusable(key: str) -> str | None:
    """Return why a file's name cannot be the key of an object. None if it can."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    if size > _LONGEST_KEY:
        return f"has more than {_LONGEST_KEY - len(f'{_INBOX}/')} bytes, with its folders"
    return "has a line break" if "\n" in key or "\r" in key else None


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether a path leads into a folder after all symbolic links are followed."""
    return path.resolve().is_relative_to(folder.resolve())


def _is_written(file: Path) -> bool:
    """Whether a process has a file open for writing. If the system cannot tell, assume that none has."""
    if sys.platform != "linux":
        return False
    try:
        with file.open("rb") as opened:
            # Linux leases a file to readers only while nobody writes to it (fcntl(2)). If a writer opens the file
            # before the lease ends, we get a signal, which must be one that does nothing.
            fcntl.fcntl(opened, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        # Not our file, or on a file system without leases. The upload finds out if something is wrong with it.
        return False
    return False


def _files(folder: Path) -> Iterator[tuple[str, _State]]:
    """Yield the files below a folder with their relative names, except programs' temporary files."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if _TEMPORARY.fullmatch(name) is None]
        for name in names:
            path = Path(parent, name)
            if _TEMPORARY.fullmatch(name) is not None or not path.is_file():
                continue
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            yield path.relative_to(folder).as_posix(), _State(status.st_size, status.st_mtime_ns, status.st_ino)
