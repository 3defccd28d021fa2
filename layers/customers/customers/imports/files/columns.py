"""The columns of a file: a customer's fields, and those that a report adds."""

from __future__ import annotations

from typing import Final

from customers.fields import FIELDS

REQUIRED: Final = tuple(field.name for field in FIELDS if field.required)
OPTIONAL: Final = tuple(field.name for field in FIELDS if not field.required and field.kind != "dict")
"""An empty cell in one of these is null."""
NAMES: Final = frozenset(REQUIRED + OPTIONAL)
INTEGERS: Final = frozenset(field.name for field in FIELDS if field.kind == "int")
"""A cell in one of these is a number; in any other, text."""

ROW_COLUMN: Final = "import_row"
ERRORS_COLUMN: Final = "import_errors"
ADDED: Final = frozenset({ROW_COLUMN, ERRORS_COLUMN})
"""What a report of rejected rows adds to each. Ignored on the way in, so that a corrected report can be imported."""

HEADER_RULE: Final = f"The CSV header must name {', '.join(REQUIRED)} and may name {', '.join(OPTIONAL)}"
