"""The customer, declared once.

To add a field, declare it in `NewCustomer` and run `make openapi`. Everything else is derived from this declaration:
the rules for creating and changing a customer (`model`), the stored form and the sort orders (`store`), the columns of
imports, the OpenAPI document and the tables of the API reference. To let groups sort by a field, also add the index
that `tests/unit/test_indexes.py` asks for to the template.

The deployed functions do not import this module, because importing pydantic takes longer than anything else in a cold
start. The layer's build compiles it: see `fields`.
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple, NotRequired, TypedDict

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints, with_config

from customers import metadata
from customers.email_address import MAX_LENGTH, canonical
from customers.ids import EXTERNAL_ID, MAX_ID
from customers.integers import whole
from customers.trimming import trimmed


class Fixed(NamedTuple):
    """Marks a field that is set when a customer is created, and never changed."""


class Listing(NamedTuple):
    """What group listings do with a field, beyond showing it."""

    sorts: bool = False
    """Whether groups can be sorted by it. Each such field costs an index, and so one more write unit per write."""
    on_request: bool = False
    """Whether it is left out unless the query parameter with its name is `true`."""


# Unicode's category Cc. The length of a text counts code points, after trimming.
_NO_CONTROLS: Final = r"^[^\x00-\x1f\x7f-\x9f]*$"

# Without what other dialects of regular expressions lack (Go's and Rust's have no lookahead), so not of every invisible
# character.
_NOT_BLANK: Final = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0\xad][^\x00-\x1f\x7f-\x9f]*$"

Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100, pattern=_NO_CONTROLS),
    BeforeValidator(trimmed),
    Field(
        description="Trimmed of white space and invisible characters; no control characters.",
        # JSON Schema cannot say that a text is trimmed before its length counts, only that something is left of it.
        json_schema_extra={"pattern": _NOT_BLANK},
    ),
]

_INT64: Final = {"format": "int64"}


@with_config(ConfigDict(strict=True, extra="forbid"))
class NewCustomer(TypedDict):
    """A customer to create."""

    external_id: NotRequired[
        Annotated[
            Annotated[str, StringConstraints(pattern=EXTERNAL_ID)] | None,
            Field(description="Your own system's key for the customer. Unique; it cannot be changed later."),
            Fixed(),
        ]
    ]
    first_name: Annotated[Name, Listing(sorts=True)]
    last_name: Annotated[Name, Listing(sorts=True)]
    email: Annotated[
        str,
        StringConstraints(max_length=MAX_LENGTH),
        BeforeValidator(trimmed),
        AfterValidator(canonical),
        Field(
            description="A valid address, internationalized ones included. Trimmed. The domain is stored in lower "
            "case and in Unicode (münchen.example for xn--mnchen-3ya.example), the local part as sent. Several "
            "customers may share an address.",
            json_schema_extra={"format": "idn-email"},
        ),
        Listing(sorts=True),
    ]
    group_id: Annotated[
        int,
        Field(
            ge=1,
            le=MAX_ID,
            description="The group that the customer belongs to: any number you choose.",
            json_schema_extra=_INT64,
        ),
        BeforeValidator(whole),
    ]
    age: NotRequired[
        Annotated[
            Annotated[int, Field(ge=0, le=150), BeforeValidator(whole)] | None,
            Field(description="In years; null if unknown."),
            Listing(sorts=True, on_request=True),
        ]
    ]
    metadata: NotRequired[
        Annotated[
            dict[
                Annotated[str, StringConstraints(pattern=metadata.KEY)],
                Annotated[str, StringConstraints(max_length=500, pattern=_NO_CONTROLS)],
            ],
            Field(
                max_length=metadata.MAX_ENTRIES,
                description=f"Entries of your own. Keys and values together have at most {metadata.MAX_BYTES} bytes in "
                "UTF-8. Empty if none were given.",
            ),
            AfterValidator(metadata.within_limit),
        ]
    ]


class _Identity(TypedDict):
    id: Annotated[
        int,
        Field(ge=1, le=MAX_ID, description="Assigned by the service. Never reused.", json_schema_extra=_INT64),
    ]


class _Record(TypedDict):
    created_at: Annotated[
        str,
        Field(
            description="When the customer was created, in UTC with milliseconds.",
            json_schema_extra={"format": "date-time"},
        ),
    ]
    updated_at: Annotated[
        str,
        Field(
            description="When the customer was last changed, in UTC with milliseconds.",
            json_schema_extra={"format": "date-time"},
        ),
    ]
    version: Annotated[
        int,
        Field(ge=1, description="1 at creation; each change adds 1.", json_schema_extra=_INT64),
    ]


class Customer(_Identity, NewCustomer, _Record):
    """A customer."""


type Changes = dict[str, str | int | dict[str, str | None] | None]
"""The fields that a PATCH changes, and no others. None clears an optional field, or removes an entry of `metadata`."""
