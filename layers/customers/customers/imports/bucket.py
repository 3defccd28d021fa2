"""The import bucket: files that come in under `imports/`, reports that go out under `reports/`."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote_plus

from botocore.exceptions import ClientError

from customers.errors import CustomersError
from customers.store.items import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mypy_boto3_s3 import S3Client

    from customers.imports.files.blocks import ByteStream

RESTORE_DELETED: Final = "restore-deleted"
"""What says about a file, if it is `true`, that its rows create customers again that were deleted: `x-amz-meta-…`."""
_FOLDER: Final = "imports/"
_SHOWN_DIGITS: Final = 16
_LONGEST_NAME: Final = 1024 - len("reports//") - _SHOWN_DIGITS - len("/rejected.jsonl")
"""S3 allows keys of 1,024 bytes in UTF-8."""
_UPLOAD_PART_BYTES: Final = 8 * 1024 * 1024
"""S3's limits: at most 10,000 parts, each of at least 5 MB but the last."""
_GONE: Final = frozenset({"NoSuchKey", "NoSuchVersion", "PreconditionFailed", "404", "412"})


class FileGoneError(CustomersError):
    """The file is no longer there, or its content has changed."""


class FileDelivery(NamedTuple):
    """A file that was put into the bucket, as S3 reports it."""

    bucket: str
    key: str
    etag: str
    put_at: str
    """When it was put there, as in a customer's `created_at`. The same in each delivery of the event."""
    sequencer: str
    """Tells this upload from others with the same key."""

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> FileDelivery:
        """Read a record of S3's event (its keys are encoded like a form's).

        https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
        """
        bucket, file = record["s3"]["bucket"]["name"], record["s3"]["object"]
        key, etag = unquote_plus(file["key"]), file["eTag"].strip('"')
        return cls(bucket, key, etag, timestamp(datetime.fromisoformat(record["eventTime"])), file["sequencer"])

    @property
    def import_id(self) -> str:
        """The identity of its import: each upload is an import of its own, however often its event is delivered."""
        return import_identity("file", self.bucket, self.key, self.sequencer)


class OpenedFile(NamedTuple):
    """A file that is being read."""

    stream: ByteStream
    metadata: Mapping[str, str]
    """What was said about it when it was put there: `x-amz-meta-…`. Nothing if it is read from its end."""


class ImportBucket:
    """The bucket, by its client and its name."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self.name = bucket

    def open(self, key: str, etag: str, start: int) -> OpenedFile:
        """Open a file from a byte on, if it still has the content of an ETag.

        Raises
        ------
        FileGoneError
            It is not there, or its content has changed.
        """
        span: Any = {"Range": f"bytes={start}-"} if start else {}
        try:
            answer = self._client.get_object(Bucket=self.name, Key=key, IfMatch=etag, **span)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "InvalidRange":
                # The position is exactly the end of the file.
                return OpenedFile(_Nothing(), {})
            if code in _GONE:
                raise FileGoneError from error
            raise
        return OpenedFile(answer["Body"], answer["Metadata"])

    def write_part(self, import_id: str, chunk: int, lines: bytes) -> str:
        """Store the rejected rows of a chunk until the report is written, and return their key.

        The key depends on the content, so two runs of a chunk with different results do not overwrite each other. The
        one that is booked counts.
        """
        key = f"parts/{import_id}/{chunk}-{hashlib.sha256(lines).hexdigest()[:16]}"
        self._client.put_object(Bucket=self.name, Key=key, Body=lines)
        return key

    def read_part(self, key: str) -> bytes:
        """Return the rejected rows of a chunk; nothing if they are no longer kept."""
        try:
            return self._client.get_object(Bucket=self.name, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            return b""

    def write(self, key: str, blocks: Iterable[bytes], content_type: str) -> None:
        """Write an object of any size, with at most 8 MB and one block of it in memory."""
        parts = _gathered(blocks)
        first = next(parts, b"")
        if len(first) < _UPLOAD_PART_BYTES:
            self._client.put_object(Bucket=self.name, Key=key, Body=first, ContentType=content_type)
            return
        where: Any = {"Bucket": self.name, "Key": key}
        upload_id = self._client.create_multipart_upload(**where, ContentType=content_type)["UploadId"]
        uploaded: Any = []
        for number, part in enumerate(_chained(first, parts), 1):
            answer = self._client.upload_part(**where, UploadId=upload_id, PartNumber=number, Body=part)
            uploaded.append({"PartNumber": number, "ETag": answer["ETag"]})
        # The bucket's lifecycle rules remove uploads that are not completed.
        self._client.complete_multipart_upload(**where, UploadId=upload_id, MultipartUpload={"Parts": uploaded})


def is_folder(stored: Mapping[str, Any]) -> bool:
    """Whether an object in S3's event is a folder, as its console makes them: empty, with a slash at its end."""
    return unquote_plus(stored["key"]).endswith("/") and stored.get("size") == 0


def import_identity(*parts: str) -> str:
    """Return the identity of an import: a digest of what it comes from, in 128 bits, which each of its rows stores."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def report_folder(import_id: str, source: Mapping[str, str]) -> str:
    """Return where an import's report is. Other contents of the same file have their reports next to it."""
    if "message_id" in source:
        return f"reports/messages/{source['message_id']}/"
    # A key may be so long that its report's would be too long. The import's identity still tells the folders apart.
    name = source["key"].removeprefix(_FOLDER).encode()[:_LONGEST_NAME].decode(errors="ignore")
    return f"reports/{name}/{import_id[:_SHOWN_DIGITS]}/"


class _Nothing:
    def read(self, _size: int, /) -> bytes:
        return b""


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _gathered(blocks: Iterable[bytes]) -> Iterator[bytes]:
    gathered = bytearray()
    for block in blocks:
        gathered += block
        if len(gathered) >= _UPLOAD_PART_BYTES:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
