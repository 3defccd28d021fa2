"""Imports: from a file or a message to customers, a report and events.

Everything here may be repeated from any point on: rows have ids derived from the import and their number, a chunk is
counted once, and who meets the last chunk booked writes the report, again if need be.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from customers import aws, dynamodb
from customers.errors import CustomersError, FieldError, InvalidError
from customers.import_bucket import FileDelivery, ImportBucket, import_identity, report_folder
from customers.import_chunks import Chunk
from customers.import_formats import Break, Layout, Row, parse_row, report_header, report_line
from customers.import_store import Counts, Import, ImportStore
from customers.logs import count, logger
from customers.model import new_customer, parse_json
from customers.store import RequestName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_events import EventBridgeClient

    from customers.store import CustomerStore

_SOURCE: Final = "customers.imports"
_UNREAD: Final = frozenset({"gone", "not_processed"})
"""Breaks that say nothing against the file itself: dropped in again, it is imported to its end."""


class UnreadableMessageError(CustomersError):
    """A message is neither a customer nor a list of customers."""


class Imports:
    """All that belongs to imports, on the resources which the environment names."""

    def __init__(self) -> None:
        self.dynamodb = dynamodb.client()
        self.store = ImportStore(self.dynamodb, os.environ["IMPORTS_TABLE"])
        self.bucket = ImportBucket(aws.client("s3"), os.environ["IMPORT_BUCKET"])
        self._bus: EventBridgeClient = aws.client("events")
        self._bus_name = os.environ["EVENT_BUS"]

    def records_in(self, message: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Give S3's records in a message that are about the import bucket: its queue takes those of any bucket."""
        records = message.get("Records", [])
        return [record for record in records if record["s3"]["bucket"]["name"] == self.bucket.name]

    def begin_file(self, file: FileDelivery) -> Import:
        """Begin an import of a file, or go on with it; say so if the same content came before.

        One that did not get to the file's end begins anew when the file is put again: what was sent of it may be lost.
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
        """Begin an import of a message, which is one chunk.

        Raises
        ------
        UnreadableMessageError
            It is neither a customer nor a list of customers.
        """
        values = _customers(body)
        source = {"message_id": message_id}
        known = self.store.begin(import_identity("message", message_id), source, message_id, planned=1 if values else 0)
        if not known.finished:
            self._put_event("Import started", {"import_id": known.import_id, "source": source})
        rows = [Row(number, json.dumps(value, ensure_ascii=False).encode()) for number, value in enumerate(values, 1)]
        return Chunk(known.import_id, 1, Layout("json_lines"), known.started_at, rows)

    def write_customers(self, chunk: Chunk, customers: CustomerStore) -> None:
        """Check the rows of a chunk, write the good ones, report the bad ones, and book the chunk."""
        good, lines = {}, []
        for row in chunk.rows:
            try:
                good[row.number] = new_customer(parse_row(chunk.layout, row.original))
            except InvalidError as error:
                lines.append(report_line(chunk.layout, row, error.errors))
        if not chunk.rows or self.store.is_booked(chunk.import_id, chunk.number):
            # The run that booked it may have died before it finished the import, and the rejected rows are kept for
            # some days alone: on the laptop until a restart.
            self._write_part(chunk, lines)
            self.finish_if_done(chunk.import_id)
            return
        outcomes = customers.insert_each(RequestName(chunk.import_id, ""), good, chunk.started_at)
        created = sum(outcomes.values())
        self._book(chunk, Counts(created, len(outcomes) - created, len(lines)), lines)

    def give_up(self, chunk: Chunk, customers: CustomerStore) -> None:
        """Book a chunk that could not be processed: the rows that were written nevertheless count as created."""
        if self.store.is_booked(chunk.import_id, chunk.number):
            self.finish_if_done(chunk.import_id)
            return
        there = customers.created_by(RequestName(chunk.import_id, ""), [row.number for row in chunk.rows])
        error = FieldError(pointer="#", code="not_processed", detail="Could not be processed. Import it again.")
        lines = [report_line(chunk.layout, row, [error]) for row in chunk.rows if row.number not in there]
        self._book(chunk, Counts(len(there), 0, len(lines)), lines)

    def stop(self, known: Import, code: str, detail: str) -> None:
        """End a file's import after the position kept. Chunks sent beyond it are told in the report once they come."""
        rows = 0 if known.position is None else known.position.rows
        self.store.plan(known, known.sent, Break(rows + 1, code, detail))

    def finish_if_done(self, import_id: str) -> None:
        """Write the report of an import whose last chunk is booked, say that it is over, and keep that it is.

        Chunks that are booked later are told in another report in its place.
        """
        known = self.store.get(import_id)
        while known.planned is not None and known.booked >= known.planned and known.told != known.booked:
            self._tell(known, repeated=False)
            self.store.finish(known)
            # Another chunk may have come meanwhile, and its report may have been overwritten by this one.
            known = self.store.get(import_id)

    def _book(self, chunk: Chunk, counts: Counts, lines: list[bytes]) -> None:
        self.store.book(chunk.import_id, chunk.number, chunk.layout, counts, self._write_part(chunk, lines))
        self.finish_if_done(chunk.import_id)

    def _write_part(self, chunk: Chunk, lines: list[bytes]) -> str | None:
        return self.bucket.write_part(chunk.import_id, chunk.number, b"".join(lines)) if lines else None

    def _tell(self, known: Import, *, repeated: bool) -> None:
        """Write the report and put the event; of a repetition, that it created nothing."""
        folder = report_folder(known.import_id, known.source)
        layout = known.layout or Layout("json_lines")
        created, there, rejected = known.counts
        if repeated:
            created, there = 0, created + there
        suffix, kind = ("csv", "text/csv") if layout.format == "csv" else ("jsonl", "application/jsonl")
        report = f"{folder}rejected.{suffix}" if rejected else None
        if report is not None and not repeated:
            self.bucket.write(report, self._rejected(known, layout), f"{kind}; charset=utf-8")
        finished = datetime.now(UTC)
        seconds = (finished - datetime.fromisoformat(known.started_at)).total_seconds()
        if repeated:
            seconds = 0.0
        rows = sum(known.counts)
        outcome = "completed" if known.broken is None else "failed"
        facts = {
            "import_id": known.import_id,
            "source": known.source,
            "status": outcome,
            "rows": rows,
            "created": created,
            "already_there": there,
            "rejected": rejected,
            "repeated": repeated,
            "seconds": round(seconds, 3),
            "rows_per_second": round(rows / seconds, 1) if seconds > 0 else None,
            "rejected_rows": report,
            "summary": f"{folder}summary.json",
        }
        # The reason itself may quote a header, so it stays in the report.
        broken = None if known.broken is None else known.broken._asdict()
        summary = {
            **facts,
            "broken": broken,
            "started_at": known.started_at,
            "finished_at": finished.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        text = json.dumps(summary, ensure_ascii=False, indent=2) + "\n"
        self.bucket.write(f"{folder}summary.json", [text.encode()], "application/json")
        values = {f"Imports{outcome.capitalize()}": 1, "RowsCreated": created, "RowsAlreadyThere": there}
        logger.info("import over", import_id=known.import_id, **count({**values, "RowsRejected": rejected}))
        reason = None if known.broken is None else {"row": known.broken.row, "code": known.broken.code}
        self._put_event(f"Import {outcome}", {**facts, "broken": reason})

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


def _customers(body: str) -> list[object]:
    try:
        value = parse_json(body.encode(errors="surrogatepass"))
    except InvalidError:
        raise UnreadableMessageError from None
    if not isinstance(value, dict):
        raise UnreadableMessageError
    if "customers" not in value:
        return [value]
    if len(value) > 1 or not isinstance(value["customers"], list):
        raise UnreadableMessageError
    return value["customers"]
