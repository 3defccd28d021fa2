"""The summary of an import: what became of its rows, for the report and the events."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from customers.imports.bucket import report_folder
from customers.imports.files.rows import Layout

if TYPE_CHECKING:
    from customers.imports.store import Import


class Summary:
    """The summary of a finished import.

    Parameters
    ----------
    known
        The import, as far as it is booked.
    finished
        When it finished.
    """

    def __init__(self, known: Import, finished: datetime) -> None:
        self._known = known
        self._finished = finished
        self._folder = report_folder(known.import_id, known.source)
        self.counts = known.counts
        self.layout = known.layout or Layout("json_lines")
        self.status = "completed" if known.broken is None else "failed"
        self.key = f"{self._folder}summary.json"
        suffix = "csv" if self.layout.format == "csv" else "jsonl"
        self.rejected_rows = f"{self._folder}rejected.{suffix}" if self.counts.rejected else None

    def text(self) -> bytes:
        """Return the text of the report."""
        broken = self._known.broken
        summary = {
            **self._facts(),
            "broken": None if broken is None else broken._asdict(),
            "started_at": self._known.started_at,
            "finished_at": self._finished.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        return (json.dumps(summary, ensure_ascii=False, indent=2) + "\n").encode()

    def event(self) -> dict[str, Any]:
        """Return the detail of the event: without `broken.detail`, which may quote the file's header."""
        broken = self._known.broken
        return {**self._facts(), "broken": None if broken is None else {"row": broken.row, "code": broken.code}}

    def _facts(self) -> dict[str, Any]:
        started = datetime.fromisoformat(self._known.started_at)
        seconds = (self._finished - started).total_seconds()
        rows = sum(self.counts)
        return {
            "import_id": self._known.import_id,
            "source": self._known.source,
            "status": self.status,
            "rows": rows,
            **self.counts._asdict(),
            "seconds": round(seconds, 3),
            "rows_per_second": round(rows / seconds, 1) if seconds > 0 else None,
            "rejected_rows": self.rejected_rows,
            "summary": self.key,
        }
