"""Imports: from a file or a message to customers, a report and events.

Everything here may be repeated from any point. Rows have ids derived from the import and their number, a chunk counts
once, and whoever books the last chunk writes the report, if necessary again.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from customers.aws import clients, dynamodb
from customers.errors import FieldError, InvalidError
from customers.imports.bucket import ImportBucket, import_identity
from customers.imports.chunks import Chunk
from customers.imports.files.report import report_header, report_line
from customers.imports.files.rows import WRONG_HEADER, WRONG_MAPPING, Break, Layout, Row
from customers.imports.files.values import RowParser
from customers.imports.messages import customers_in
from customers.imports.store import Counts, Import, ImportStore
from customers.imports.summary import Summary
from customers.logs import count, logger
from customers.store.identity import RequestName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_events import EventBridgeClient

    from customers.imports.bucket import FileDelivery
    from customers.store.bulk import BulkStore

_SOURCE: Final = "customers.imports"
_UNREAD: Final = frozenset({"gone", "not_processed", WRONG_HEADER, WRONG_MAPPING})
"""Breaks that the same file may not have when it is dropped in again: it is read anew. What the caller says about its
columns is not part of its content.
"""


class Imports:
    """Imports, on the resources that the environment names."""

    def __init__(self) -> None:
        self.dynamodb = dynamodb.client()
        self.store = ImportStore(self.dynamodb, os.environ["IMPORTS_TABLE"])
        self.bucket = ImportBucket(clients.client("s3"), os.environ["IMPORT_BUCKET"])
        self._bus: EventBridgeClient = clients.client("events")
        self._bus_name = os.environ["EVENT_BUS"]

    def records_in(self, message: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return a message's S3 records about the import bucket. Its queue accepts those of any bucket."""
        records = message.get("Records", [])
        return [record for record in records if record["s3"]["bucket"]["name"] == self.bucket.name]

    def begin_file(self, file: FileDelivery) -> Import:
        """Begin or continue the import of a file, and report it if the same content was imported before.

        If an import did not reach the file's end, a new upload begins it again, because its chunks may be lost.
        """
        source = {"bucket": file.bucket, "key": file.key}
        known = self.store.begin(file.import_id, source, file.delivery)
        to_its_end = known.finished and (known.broken is None or known.broken.code not in _UNREAD)
        if known.delivery < file.delivery and not to_its_end:
            known = self.store.take_up(file.import_id, file.delivery)
        if known.finished:
            if known.delivery != file.delivery:
                self._tell(known, repeated=True)
        elif known.position is None:
            self._put_event("Import started", {"import_id": known.import_id, "source": source})
        return known

    def message_chunk(self, message_id: str, body: str) -> Chunk:
        """Begin the import of a message, and return its only chunk.

        Raises
        ------
        UnreadableMessageError
            It is neither a customer nor a list of customers.
        """
        values = customers_in(body)
        source = {"message_id": message_id}
        known = self.store.begin(import_identity("message", message_id), source, message_id, planned=1 if values else 0)
        if not known.finished:
            self._put_event("Import started", {"import_id": known.import_id, "source": source})
        # A lone surrogate stays escaped, as it came, so that only its row is rejected.
        texts = [json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace") for value in values]
        rows = [Row(number, text) for number, text in enumerate(texts, 1)]
        return Chunk(known.import_id, 1, Layout("json_lines"), known.started_at, rows)

    def write_customers(self, chunk: Chunk, customers: BulkStore) -> None:
        """Check the rows of a chunk, write the valid ones, report the others, and book the chunk."""
        good, lines = {}, []
        parser = RowParser(chunk.layout)
        for row in chunk.rows:
            try:
                good[row.number] = parser.parse(row.original).customer
            except InvalidError as error:
                lines.append(report_line(chunk.layout, row, error.errors))
        if not chunk.rows or self.store.is_booked(chunk.import_id, chunk.number):
            # The run that booked it may have died before it finished the import, and the rejected rows are kept only
            # for some days, on the laptop until a restart.
            self._write_part(chunk, lines)
            self.finish_if_done(chunk.import_id)
            return
        outcomes = customers.insert_each(_request(chunk), good, chunk.started_at)
        created = sum(outcomes.values())
        self._book(chunk, Counts(created, len(outcomes) - created, len(lines)), lines)

    def give_up(self, chunk: Chunk, customers: BulkStore) -> None:
        """Book a chunk that could not be processed. Rows that were written all the same count as created."""
        if self.store.is_booked(chunk.import_id, chunk.number):
            self.finish_if_done(chunk.import_id)
            return
        there = customers.created_by(_request(chunk), [row.number for row in chunk.rows])
        error = FieldError(pointer="#", code="not_processed", detail="Could not be processed. Import it again.")
        lines = [report_line(chunk.layout, row, [error]) for row in chunk.rows if row.number not in there]
        self._book(chunk, Counts(len(there), 0, len(lines)), lines)

    def stop(self, known: Import, code: str, detail: str) -> None:
        """End a file's import at the saved position. Chunks sent after it enter the report when they arrive."""
        rows = 0 if known.position is None else known.position.rows
        self.store.plan(known, known.sent, Break(rows + 1, code, detail))

    def finish_if_done(self, import_id: str) -> None:
        """If the last chunk of an import is booked, write its report, send its event, and store that it is finished.

        Chunks that are booked later cause a new report in its place.
        """
        known = self.store.get(import_id)
        while known.planned is not None and known.booked >= known.planned and known.told != known.booked:
            self._tell(known, repeated=False)
            self.store.finish(known)
            # Another chunk may have been booked in the meantime, and this report may have overwritten its report.
            known = self.store.get(import_id)

    def _book(self, chunk: Chunk, counts: Counts, lines: list[bytes]) -> None:
        self.store.book(chunk.import_id, chunk.number, chunk.layout, counts, self._write_part(chunk, lines))
        self.finish_if_done(chunk.import_id)

    def _write_part(self, chunk: Chunk, lines: list[bytes]) -> str | None:
        return self.bucket.write_part(chunk.import_id, chunk.number, b"".join(lines)) if lines else None

    def _tell(self, known: Import, *, repeated: bool) -> None:
        """Write the report and send the event. For a repetition, they say that it created nothing."""
        summary = Summary(known, datetime.now(UTC), repeated=repeated)
        if summary.rejected_rows is not None and not repeated:
            kind = "text/csv" if summary.layout.format == "csv" else "application/jsonl"
            self.bucket.write(summary.rejected_rows, self._rejected(known, summary.layout), f"{kind}; charset=utf-8")
        self.bucket.write(summary.key, [summary.text()], "application/json")
        created, there, rejected = summary.counts
        values = {f"Imports{summary.status.capitalize()}": 1, "RowsCreated": created, "RowsAlreadyThere": there}
        logger.info("import over", import_id=known.import_id, **count({**values, "RowsRejected": rejected}))
        self._put_event(f"Import {summary.status}", summary.event())

    def _rejected(self, known: Import, layout: Layout) -> Iterator[bytes]:
        yield report_header(layout)
        for part in self.store.parts(known.import_id):
            yield self.bucket.read_part(part)

    def _put_event(self, kind: str, detail: Mapping[str, Any]) -> None:
        answer = self._bus.put_events(
            Entries=[
                {
                    "EventBusName": self._bus_name,
                    "Source": _SOURCE,
                    "DetailType": kind,
                    "Detail": json.dumps(detail, ensure_ascii=False),
                }
            ]
        )
        if answer["FailedEntryCount"]:
            raise RuntimeError(f"the event bus refused an event: {answer['Entries'][0].get('ErrorCode')}")


def _request(chunk: Chunk) -> RequestName:
    # 128 bits are enough to identify an import, and each row stores them.
    return RequestName(chunk.import_id[:32], "")
