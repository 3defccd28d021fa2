"""The inbox on the laptop: which files it takes, and when, by a clock that the test moves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from local.events import import_bucket
from local.events.import_bucket import ImportBucketFolder


class Bucket:
    """Takes objects, and has no reports. The real one is in `tests/integration/test_local_events.py`."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def upload_file(self, path: str, _bucket: str, key: str, **_: Any) -> None:
        self.objects[key.removeprefix("imports/")] = Path(path).read_bytes()

    def get_paginator(self, _operation: str) -> Any:
        return SimpleNamespace(paginate=lambda **_: [{}])


class Inbox:
    """The folder, checked twice a second by a clock that the test moves."""

    def __init__(self, path: Path) -> None:
        self.seconds = 0.0
        self.path = path / "imports"
        self._bucket = cast("Any", Bucket())
        self._folder = ImportBucketFolder(path, self._bucket, "bucket")

    def wait(self, seconds: float) -> None:
        end = self.seconds + seconds
        while self.seconds < end:
            self.seconds += 0.5
            self._folder._look()  # noqa: SLF001 (its thread would wait for real)

    def uploaded(self) -> dict[str, bytes]:
        return dict(self._bucket.objects)


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inbox:
    monkeypatch.setattr(import_bucket, "_INTERVAL", 0)
    found = Inbox(tmp_path)
    monkeypatch.setattr(import_bucket, "time", SimpleNamespace(monotonic=lambda: found.seconds))
    return found


def test_a_file_is_taken_once_it_has_been_unchanged_for_three_seconds(inbox: Inbox) -> None:
    (inbox.path / "a.csv").write_bytes(b"whole")
    inbox.wait(3)
    assert inbox.uploaded() == {}
    inbox.wait(1)
    assert inbox.uploaded() == {"a.csv": b"whole"}


def test_a_file_that_is_written_in_pieces_is_taken_once_and_whole(inbox: Inbox) -> None:
    pieces = [b"first,", b"second,", b"third"]
    for piece in pieces:
        with (inbox.path / "a.csv").open("ab") as file:
            file.write(piece)
        inbox.wait(2.5)
        assert inbox.uploaded() == {}
    inbox.wait(1)
    assert inbox.uploaded() == {"a.csv": b"".join(pieces)}


@pytest.mark.parametrize(
    "name",
    [
        "c.csv~",
        "c.csv.tmp",
        "C.TMP",
        "c.csv.part",
        "c.csv.partial",
        "c.csv.filepart",
        "c.csv.crdownload",
        "c.csv.download",
        ".c.csv.swp",
        "c.csv.swp",
        "c.csv.bak",
        "#c.csv#",
        "~$c.csv",
        ".hidden.csv",
        ".folder/c.csv",
        "c.download/c.csv",
    ],
)
def test_files_that_programs_write_for_themselves_are_left_alone(name: str, inbox: Inbox) -> None:
    for one in (name, "c.csv"):
        (inbox.path / one).parent.mkdir(exist_ok=True)
        (inbox.path / one).write_bytes(b"x")
    inbox.wait(5)
    assert inbox.uploaded() == {"c.csv": b"x"}


@pytest.mark.parametrize("name", ["tmp.csv", "part", "backup.bak.csv", "a~b.csv", "#1.csv", "c.csv.gz", "bak"])
def test_names_that_only_resemble_those_are_files_like_any_other(name: str, inbox: Inbox) -> None:
    (inbox.path / name).write_bytes(b"x")
    inbox.wait(5)
    assert inbox.uploaded() == {name: b"x"}


def test_a_temporary_file_is_taken_under_the_name_it_gets_in_the_end(inbox: Inbox) -> None:
    (inbox.path / "c.csv.part").write_bytes(b"x")
    inbox.wait(5)
    (inbox.path / "c.csv.part").rename(inbox.path / "c.csv")
    inbox.wait(5)
    assert inbox.uploaded() == {"c.csv": b"x"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("line\nbreak.csv", "has a line break"),
        ("line\rbreak.csv", "has a line break"),
        ("/".join(["folder" * 30] * 6) + "/c.csv", "more than 1016 bytes"),
        ("caf\udce9.csv", "is not UTF-8"),
    ],
)
def test_a_file_whose_name_cannot_be_a_key_is_named_once_and_the_others_go_on(
    name: str, reason: str, inbox: Inbox, capsys: pytest.CaptureFixture[str]
) -> None:
    for one in (name, "z.csv"):
        (inbox.path / one).parent.mkdir(parents=True, exist_ok=True)
        (inbox.path / one).write_bytes(b"x")
    inbox.wait(6)
    assert inbox.uploaded() == {"z.csv": b"x"}
    said = capsys.readouterr().err
    assert said.count("cannot be imported") == said.count("\n") == 1
    assert reason in said
