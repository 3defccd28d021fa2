"""A nightly sync writes only what changed: a short run of `make bench-sync` (docs/imports.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.benchmarks import sync

if TYPE_CHECKING:
    from pathlib import Path


def test_a_nightly_sync_an_export_and_an_edited_export_write_what_changed(tmp_path: Path) -> None:
    # It stops at the first difference. The export has more than one page, and is interrupted after the first one.
    rows = sync.run(tmp_path, 2_500)
    assert ("the next night, 1 % changed", "25 updated, 2,475 unchanged", "25") in [row[:3] for row in rows]
