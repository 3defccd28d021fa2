"""The ids of customers."""

from __future__ import annotations

from typing import Final

MAX_ID: Final = 2**53 - 1
"""The largest id: the largest integer that JavaScript holds exactly (ECMA-262, Number.MAX_SAFE_INTEGER)."""
