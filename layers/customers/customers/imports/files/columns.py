"""The columns of a file: a customer's fields, who a row is, and what the service itself added."""

from __future__ import annotations

import re
from typing import Final

from customers import metadata
from customers.fields import FIELDS

REQUIRED: Final = tuple(field.name for field in FIELDS if field.required)
OPTIONAL: Final = tuple(field.name for field in FIELDS if not field.required and field.kind != "dict")
"""An empty cell in one of these is null."""
INTEGERS: Final = frozenset(field.name for field in FIELDS if field.kind == "int")
"""A cell in one of these is a number; in any other, text."""

METADATA: Final = "metadata"
METADATA_PREFIX: Final = "metadata."
"""How a column begins that holds one entry of the customer's metadata; the entry's key follows."""
_METADATA_KEY: Final = re.compile(metadata.KEY)

ID: Final = "id"
EXTERNAL_ID: Final = "external_id"
VERSION: Final = "version"

ROW_COLUMN: Final = "import_row"
ERRORS_COLUMN: Final = "import_errors"
ADDED: Final = frozenset({ROW_COLUMN, ERRORS_COLUMN})
"""What a report of rejected rows adds to each."""
IGNORED: Final = frozenset({*ADDED, "created_at", "updated_at"})
"""What the service says about a customer or a row. Ignored on the way in, so that what it wrote can be imported."""
LEFT_OUT: Final = ""
"""The name of a column whose cells are ignored because the caller said so."""

_NAMES: Final = frozenset({*REQUIRED, *OPTIONAL, ID, VERSION, *IGNORED})
HEADER_RULE: Final = (
    f"The CSV header must name {', '.join(REQUIRED)} and may name {', '.join(OPTIONAL)}, {METADATA_PREFIX}<key>, "
    f"{ID} and {VERSION}"
)

_SEPARATORS: Final = re.compile(r"[\s_\-\ufeff]+")


def squashed(name: str) -> str:
    """Return a column's name without what people write differently: `First Name`, `firstName` and `first-name` agree.

    That is capitals, white space, hyphens and underscores.
    """
    return _SEPARATORS.sub("", name).casefold()


_BY_SQUASHED: Final = {squashed(name): name for name in _NAMES}


def column_named(name: str) -> str | None:
    """Return the column that a header calls by a name, in whatever spelling; None if there is no such column."""
    stripped = name.strip()
    if stripped[: len(METADATA_PREFIX)].lower() == METADATA_PREFIX:
        key = stripped[len(METADATA_PREFIX) :]
        return METADATA_PREFIX + key if _METADATA_KEY.fullmatch(key) else None
    return _BY_SQUASHED.get(squashed(name))
