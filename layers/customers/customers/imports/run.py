"""Imports: from a file or a message to customers, a report and events.

Everything here may be repeated from any point. Each row leads to its own item, a chunk counts once, and whoever books
the last chunk writes the report, if necessary again.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from customers.aws import clients, dynamodb
from customers.errors import FieldError, InvalidError
from customers.imports.bucket import ImportBucket, import_identity, is_folder
from customers.imports.chunks import Chunk
from customers.imports.files.report import report_header, report_line
from customers.imports.files.rows import Break, Layout, Row
from customers.imports.files.values import RowParser
from customers.imports.messages import customers_in
from customers.imports.store import Counts, Import, ImportStore
from customers.imports.summary import Summary
from customers.logs import count, logger
from customers.store.identity import Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

    from customers.imports.bucket import FileDelivery
    from customers.store.identity import ImportRow
    from customers.store.rows import Outcome, RowStore

_SOURCE: Final = "customers.imports"
_TRIES: Final = 6
"""To put an event on the bus."""
_FIRST_PAUSE: Final = 0.2
"""Seconds; the longest pause before the second try. It doubles with each try, to 3.2."""
REFUSALS: Final[dict[Outcome, FieldError]] = {
    "deleted": FieldError(
        pointer="#",
        code="deleted",
        detail="The customer was deleted less than 30 days ago. To create it again, import with --restore-deleted.",
    ),
    "version_mismatch": FieldError(
        pointer="#/version",
        code="version_mismatch",
        detail="The customer has changed since it was exported. Export it again.",
    ),
    "external_id_mismatch": FieldError(
        pointer="#/external_id",
        code="external_id_mismatch",
        detail="The customer with this id has another external id, or had one that the row must name.",
    ),
}
"""Why the store may refuse a valid row."""


class Imports:
    """Imports, on the resources that the environment names."""

    def __init__(self) -> None:
        self.dynamodb = dynamodb.client()
        self.store = ImportStore(self.dynamodb, os.environ["IMPORTS_TABLE"])
        self.bucket = ImportBucket(clients.client("s3"), os.environ["IMPORT_BUCKET"])
        self._bus: EventBridgeClient = clients.client("events")
        self._bus_name = os.environ["EVENT_BUS"]

    def records_in(self, message: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return a message's S3 records about files in the import bucket. Its queue accepts those of any bucket."""
        records = message.get("Records", [])
        return [
            record
            for record in records
            if record["s3"]["bucket"]["name"] == self.bucket.name and not is_folder(record["s3"]["object"])
        ]

    def begin_file(self, file: FileDelivery) -> Import:
        """Begin or continue the import of a file."""
        source = {"bucket": file.bucket, "key": file.key}
        self.store.keep_latest(file)
        known = self.store.begin(file.import_id, source)
        if not known.finished and known.position is None:
            self._put_event("Import started", {"import_id": known.import_id, "source": source})
        return known

    def message_chunk(self, message_id: str, body: str, put_at: str) -> Chunk:
        """Begin the import of a message, and return its only chunk.

        Parameters
        ----------
        message_id, body
            Of the message.
        put_at
            When it was sent, as in a customer's `created_at`.

        Raises
        ------
        UnreadableMessageError
            It is neither a customer nor a list of customers.
        """
        values = customers_in(body)
        source = {"message_id": message_id}
        known = self.store.begin(import_identity("message", message_id), source, planned=1 if values else 0)
        if not known.finished:
            self._put_event("Import started", {"import_id": known.import_id, "source": source})
        # A lone surrogate stays escaped, as it came, so that only its row is rejected.
        texts = [json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace") for value in values]
        rows = [Row(number, text) for number, text in enumerate(texts, 1)]
        return Chunk(known.import_id, 1, Layout("json_lines"), put_at, restore=False, rows=rows)

    def write_customers(self, chunk: Chunk, customers: RowStore) -> None:
        """Check the rows of a chunk, write the valid ones, report the others, and book the chunk."""
        good, errors = _checked(chunk)
        if not chunk.rows or self.store.is_booked(chunk.import_id, chunk.number):
            # The run that booked it may have died before it finished the import, and the rejected rows are kept only
            # for some days, on the laptop until a restart.
            self._write_part(chunk, errors)
            self.finish_if_done(chunk.import_id)
            return
        outcomes = customers.write(_source(chunk), good)
        errors |= {number: [REFUSALS[outcome]] for number, outcome in outcomes.items() if outcome in REFUSALS}
        self._book(chunk, outcomes, errors)

    def give_up(self, chunk: Chunk, customers: RowStore) -> None:
        """Book a chunk that could not be processed. Rows that were written all the same count as written."""
        if self.store.is_booked(chunk.import_id, chunk.number):
            self.finish_if_done(chunk.import_id)
            return
        good, errors = _checked(chunk)
        outcomes = customers.written(_source(chunk), good)
        error = FieldError(pointer="#", code="not_processed", detail="Could not be processed. Import it again.")
        errors |= {number: [error] for number in good.keys() - outcomes.keys()}
        self._book(chunk, outcomes, errors)

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
            self._tell(known)
            self.store.finish(known)
            # Another chunk may have been booked in the meantime, and this report may have overwritten its report.
            known = self.store.get(import_id)

    def _book(self, chunk: Chunk, outcomes: Mapping[int, Outcome], errors: Mapping[int, list[FieldError]]) -> None:
        """Count what became of a chunk's rows. Those with errors are rejected."""
        counted = Counter[str](outcome for number, outcome in outcomes.items() if number not in errors)
        counts = Counts(rejected=len(errors), **counted)
        assert sum(counts) == len(chunk.rows)  # noqa: S101 (a report accounts for every row)
        part = self._write_part(chunk, errors)
        self.store.book(chunk.import_id, chunk.number, chunk.layout, counts, part)
        self.finish_if_done(chunk.import_id)

    def _write_part(self, chunk: Chunk, errors: Mapping[int, list[FieldError]]) -> str | None:
        lines = [report_line(chunk.layout, row, errors[row.number]) for row in chunk.rows if row.number in errors]
        return self.bucket.write_part(chunk.import_id, chunk.number, b"".join(lines)) if lines else None

    def _tell(self, known: Import) -> None:
        """Write the report and send the event."""
        summary = Summary(known, datetime.now(UTC))
        if summary.rejected_rows is not None:
            kind = "text/csv" if summary.layout.format == "csv" else "application/jsonl"
            self.bucket.write(summary.rejected_rows, self._rejected(known, summary.layout), f"{kind}; charset=utf-8")
        self.bucket.write(summary.key, [summary.text()], "application/json")
        rows = {f"Rows{name.title().replace('_', '')}": number for name, number in summary.counts._asdict().items()}
        values = {f"Imports{summary.status.capitalize()}": 1, **rows}
        logger.info("import over", import_id=known.import_id, **count(values))
        self._put_event(f"Import {summary.status}", summary.event())

    def _rejected(self, known: Import, layout: Layout) -> Iterator[bytes]:
        yield report_header(layout)
        for part in self.store.parts(known.import_id):
            yield self.bucket.read_part(part)

    def _put_event(self, kind: str, detail: Mapping[str, Any]) -> None:
        event: PutEventsRequestEntryTypeDef = {
            "EventBusName": self._bus_name,
            "Source": _SOURCE,
            "DetailType": kind,
            "Detail": json.dumps(detail, ensure_ascii=False),
        }
        tries = 0
        while (answer := self._bus.put_events(Entries=[event]))["FailedEntryCount"]:
            tries += 1
            if tries == _TRIES:
                raise RuntimeError(f"the event bus refused an event: {answer['Entries'][0].get('ErrorCode')}")
            # The changes that the import makes may have used up the region's quota. The next delivery is far away.
            time.sleep(random.uniform(0, _FIRST_PAUSE * 2 ** (tries - 1)))  # noqa: S311 (jitter)


def _checked(chunk: Chunk) -> tuple[dict[int, ImportRow], dict[int, list[FieldError]]]:
    """Return a chunk's valid rows, and the errors of the others, by their number."""
    good, errors = {}, {}
    parser = RowParser(chunk.layout)
    for index, row in enumerate(chunk.rows):
        try:
            parsed = parser.parse(row.original)
            good[row.number] = parsed._replace(repeats=True) if chunk.repeats >> index & 1 else parsed
        except InvalidError as error:
            errors[row.number] = error.errors
    return good, errors


def _source(chunk: Chunk) -> Source:
    return Source(chunk.import_id, chunk.put_at, chunk.restore)
