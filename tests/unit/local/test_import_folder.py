"""The inbox on the laptop: which files it takes, and when. The bucket is moto's; only the clock is the test's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from local.events import import_bucket
from local.events.import_bucket import ImportBucketFolder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mypy_boto3_s3 import S3Client


class Inbox:
    """The folder, looked at twice a second by a clock that the test moves."""

    def __init__(self, path: Path, s3: S3Client) -> None:
        self.seconds = 0.0
        self.path = path / "imports"
        self._s3 = s3
        self._folder = ImportBucketFolder(path, s3, "bucket")

    def wait(self, seconds: float) -> None:
        end = self.seconds + seconds
        while self.seconds < end:
            self.seconds += 0.5
            self._folder._look()  # noqa: SLF001 (its thread would wait for real)

    def uploaded(self) -> dict[str, bytes]:
        listed = self._s3.list_objects_v2(Bucket="bucket").get("Contents", [])
        keys = [item["Key"] for item in listed]
        return {
            key.removeprefix("imports/"): self._s3.get_object(Bucket="bucket", Key=key)["Body"].read() for key in keys
        }


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    monkeypatch.setattr(import_bucket, "_INTERVAL", 0)
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        s3.create_bucket(Bucket="bucket")
        found = Inbox(tmp_path, s3)
        monkeypatch.setattr(import_bucket, "time", SimpleNamespace(monotonic=lambda: found.seconds))
        yield found


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
