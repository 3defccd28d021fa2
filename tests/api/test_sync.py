"""A nightly sync writes what changed, and nothing else: a short run of `make bench-sync` (docs/imports.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.benchmarks import sync

if TYPE_CHECKING:
    from pathlib import Path


def test_a_nightly_sync_an_export_and_an_edited_export_write_what_changed(tmp_path: Path) -> None:
    # It stops at the first difference.
    lines = sync.run(tmp_path, 1_000)
    assert "| the next night, 1 % changed | 10 updated, 990 unchanged | 10 |" in "\n".join(lines)
