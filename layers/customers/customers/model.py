"""What clients may send, and everything that is wrong with what they sent. Knows nothing of AWS or of HTTP.

The rules themselves come from the declaration in `customer`.
"""

from __future__ import annotations

import re
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pydantic_core import SchemaValidator, ValidationError

from customers import metadata
from customers.errors import FieldError, InvalidError
from customers.fields import FIELDS, rules
from customers.ids import EXTERNAL_ID, EXTERNAL_ID_RULE
from customers.json_text import has_lone_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic_core import ErrorDetails

    from customers.customer import Changes, NewCustomer
    from customers.errors import RequestErrorCode

MAX_ROWS: Final = 100
"""Customers in one call: what one DynamoDB transaction holds."""

_MAX_ERRORS: Final = 100
"""For one object: enough for all errors of its known fields and plenty of unknown ones."""

_MAX_POINTERS: Final = 20_000
"""Characters of all pointers of an object's errors. They name what the client named, however long that is."""
_MAX_NAME: Final = 1000
"""Characters of a name that a pointer shows."""

_READ_ONLY: Final = frozenset({"id", "version", "created_at", "updated_at"})
_FIXED: Final = frozenset(field.name for field in FIELDS if field.fixed)

_RULES: Final = rules()
_FIELDS: Final = _RULES["fields"]
_NEW_CUSTOMER: Final = SchemaValidator(_RULES)


def _change(schema: Any) -> Any:  # noqa: ANN401 (a core schema)
    """Return the rules for changing a field. A patch of entries may remove some, and is checked once it is merged."""
    while schema["type"] == "function-after" and schema["schema"]["type"] == "dict":
        schema = schema["schema"]
    if schema["type"] != "dict":
        return schema
    value = {"type": "nullable", "schema": schema["values_schema"]}
    return {**schema, "values_schema": value, "max_length": metadata.MAX_PATCH_ENTRIES}


_CHANGES: Final = SchemaValidator(
    {
        **_RULES,
        "fields": {
            name: {**field, "schema": _change(field["schema"]), "required": False}
            for name, field in _FIELDS.items()
            if name not in _FIXED
        },
    }
)


def new_customer(value: object, pointer: str = "#") -> NewCustomer:
    """Check a customer to create.

    Parameters
    ----------
    value
        A parsed JSON value.
    pointer
        Where it is in the body. The pointers of errors begin with it.

    Raises
    ------
    InvalidError
        With everything that is wrong with it.
    """
    checked: NewCustomer = _validated(_NEW_CUSTOMER, value, pointer)
    return checked


def replacement(value: object, external_id: str) -> NewCustomer:
    """Check the customer that is to have an external id.

    Parameters
    ----------
    value
        A parsed JSON value. Its `external_id` may be left out.
    external_id
        The external id.

    Raises
    ------
    InvalidError
        With everything that is wrong with it.
    """
    outcome = _outcome(value, "#")
    errors = outcome.errors if isinstance(outcome, InvalidError) else []
    if _external_id(value) not in {None, external_id}:
        detail = "Must be the external id in the path, or left out."
        errors = [*errors, FieldError(pointer="#/external_id", code="does_not_match_path", detail=detail)]
    if isinstance(outcome, InvalidError) or errors:
        raise InvalidError(errors)
    return {**outcome, "external_id": external_id}


def row_outcomes(body: object, *, all_or_none: bool = False) -> list[NewCustomer | InvalidError]:
    """Check each row of a body `{"customers": [...]}`, and return for each the customer to create or its errors.

    Parameters
    ----------
    body
        A parsed JSON value.
    all_or_none
        Whether a row with errors keeps its external id from later rows; otherwise, the next one has it.

    Raises
    ------
    InvalidError
        The body does not have this form, or does not contain 1 to 100 rows. With everything that is wrong with it,
        including its rows.
    """
    if not isinstance(body, dict):
        raise InvalidError([_not_an_object("#")])
    errors = [_unknown_field(_pointer("#", (name,))) for name in body if name != "customers"]
    errors = _bounded(errors, "#")
    rows = body.get("customers")
    outcomes: list[NewCustomer | InvalidError] = []
    if not isinstance(rows, list):
        code: RequestErrorCode = "wrong_type" if "customers" in body else "required"
        errors.append(FieldError(pointer="#/customers", code=code, detail="Must be an array of customers."))
    elif not 1 <= len(rows) <= MAX_ROWS:
        code = "too_long" if rows else "too_short"
        errors.append(FieldError(pointer="#/customers", code=code, detail=f"Must contain 1 to {MAX_ROWS} customers."))
    else:
        outcomes = _once(rows, all_or_none=all_or_none)
    if errors:
        raise InvalidError(errors + _row_errors(outcomes))
    return outcomes


def new_customers(body: object) -> list[NewCustomer]:
    """Check a body `{"customers": [...]}` in which every row must be valid.

    Raises
    ------
    InvalidError
        With everything that is wrong with it.
    """
    outcomes = row_outcomes(body, all_or_none=True)
    if errors := _row_errors(outcomes):
        raise InvalidError(errors)
    return [outcome for outcome in outcomes if not isinstance(outcome, InvalidError)]


def _outcome(row: object, pointer: str) -> NewCustomer | InvalidError:
    try:
        return new_customer(row, pointer)
    except InvalidError as error:
        return error


def _once(rows: Iterable[object], *, all_or_none: bool) -> list[NewCustomer | InvalidError]:
    """Check rows, of which each external id is only that of the first."""
    seen: set[str] = set()
    outcomes: list[NewCustomer | InvalidError] = []
    for index, row in enumerate(rows):
        outcome, external_id = _outcome(row, f"#/customers/{index}"), _external_id(row)
        if external_id in seen:
            where, detail = f"#/customers/{index}/external_id", "An earlier customer of the list has this external id."
            others = outcome.errors if isinstance(outcome, InvalidError) else []
            outcome = InvalidError([*others, FieldError(pointer=where, code="duplicate", detail=detail)])
        elif external_id is not None and (all_or_none or not isinstance(outcome, InvalidError)):
            seen.add(external_id)
        outcomes.append(outcome)
    return outcomes


def _external_id(value: object) -> str | None:
    """Return a customer's external id, whatever is wrong with its other fields; None if it has no valid one."""
    given = value.get("external_id") if isinstance(value, dict) else None
    return given if isinstance(given, str) and re.fullmatch(EXTERNAL_ID, given) else None


def _row_errors(outcomes: list[NewCustomer | InvalidError]) -> list[FieldError]:
    return [error for outcome in outcomes if isinstance(outcome, InvalidError) for error in outcome.errors]


def changes(value: object) -> Changes:
    """Check a JSON merge patch (RFC 7396).

    Raises
    ------
    InvalidError
        With everything that is wrong with it. An empty patch is an error too.
    """
    checked: Changes = _validated(_CHANGES, value, "#")
    if not checked:
        raise InvalidError([FieldError(pointer="#", code="empty", detail="Must contain at least one field to change.")])
    return checked


def _validated(validator: SchemaValidator, value: object, pointer: str) -> Any:  # noqa: ANN401 (as the rules say)
    # The validators accept any mapping. JSON has only one kind, and the message uses JSON's word for it.
    if not isinstance(value, dict):
        raise InvalidError([_not_an_object(pointer)])
    # The validators stop at a name that is not Unicode, and so would not report the rest.
    not_unicode = {name for name in value if not name.isascii() and has_lone_surrogates(name)}
    errors: list[FieldError] = []
    try:
        checked = validator.validate_python(
            {name: value[name] for name in value.keys() - not_unicode} if not_unicode else value
        )
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=True)
        details += [further for detail in details for further in _beside_length(detail)]
        if any(detail["loc"][0] == "metadata" for detail in details):
            details = [*_beside_entries(value["metadata"], details, is_patch=validator is _CHANGES), *details]
        errors = [_field_error(detail, pointer) for detail in details]
    errors += [_unknown_field(_pointer(pointer, (name,))) for name in sorted(not_unicode)]
    if errors:
        raise InvalidError(_bounded(errors, pointer))
    return checked


def _beside_length(error: ErrorDetails) -> list[ErrorDetails]:
    """Return what else is wrong with a text that is too long. The core stops at a value's first error."""
    if error["type"] != "string_too_long":
        return []
    rules = _FIELDS[error["loc"][0]]["schema"]
    while rules["type"] != "str":
        rules = rules["values_schema" if rules["type"] == "dict" else "schema"]
    of_any_length = SchemaValidator({name: rule for name, rule in rules.items() if name != "max_length"})
    try:
        of_any_length.validate_python(error["input"])
    except ValidationError as further:
        return [{**detail, "loc": error["loc"]} for detail in further.errors(include_url=False)]
    return []


def _beside_entries(entries: object, told: Iterable[ErrorDetails], *, is_patch: bool) -> Iterator[ErrorDetails]:
    """Yield what is wrong with all entries together. The core tells that only if each of them is valid."""
    most = metadata.MAX_PATCH_ENTRIES if is_patch else metadata.MAX_ENTRIES
    for kind in sorted(metadata.wrong_together(entries, most, any_size=is_patch) - {one["type"] for one in told}):
        yield {"type": kind, "loc": ("metadata",), "msg": "", "input": entries, "ctx": {"max_length": most}}


def _bounded(errors: list[FieldError], pointer: str) -> list[FieldError]:
    """Keep the response within Lambda's 6 MB, whatever unknown fields a client sends. Known fields come first."""
    sizes = accumulate(len(error["pointer"]) for error in errors)
    shown = sum(size <= _MAX_POINTERS for size in islice(sizes, _MAX_ERRORS))
    if shown == len(errors):
        return errors
    detail = "Has more errors. These are the first."
    return [*errors[:shown], FieldError(pointer=pointer, code="too_many_errors", detail=detail)]


def _unknown_field(pointer: str) -> FieldError:
    return FieldError(pointer=pointer, code="unknown_field", detail="There is no such field.")


def _not_an_object(pointer: str) -> FieldError:
    return FieldError(pointer=pointer, code="wrong_type", detail="Must be a JSON object.")


_CODES: Final[dict[str, tuple[RequestErrorCode, str]]] = {
    "invalid_email": ("invalid_email", "Must be a valid email address, like name@example.com."),
    "missing": ("required", "Is required."),
    "metadata_too_large": (
        "metadata_too_large",
        f"Must have at most {metadata.MAX_BYTES} bytes in all, keys and values in UTF-8.",
    ),
    "too_long": ("too_many_entries", "Must have at most {max_length} entries."),
    "dict_type": ("wrong_type", "Must be a JSON object."),
    "string_type": ("wrong_type", "Must be a string."),
    "int_type": ("wrong_type", "Must be an integer."),
    "string_too_short": ("too_short", "Must not be blank."),
    "string_too_long": ("too_long", "Must have at most {max_length} characters."),
    "string_pattern_mismatch": ("control_character", "Must not contain control characters."),
    "string_unicode": ("invalid_unicode", "Must be valid Unicode."),
    "greater_than_equal": ("too_small", "Must be at least {ge}."),
    "less_than_equal": ("too_large", "Must be at most {le}."),
}
"""The core's error types, as the contract's stable codes and messages."""

_PATTERNS: Final[dict[str, tuple[RequestErrorCode, str]]] = {
    EXTERNAL_ID: ("invalid_external_id", f"Must have {EXTERNAL_ID_RULE}."),
    metadata.KEY: ("invalid_metadata_key", "The key must have 1 to 40 characters from A-Z a-z 0-9 . _ -."),
}
"""What it means that a text does not match a pattern; for any other, that it contains control characters."""


def _field_error(error: ErrorDetails, pointer: str) -> FieldError:
    kind, location = error["type"], error["loc"]
    # The core adds this to the place of a wrong key.
    where = _pointer(pointer, location[:-1] if location[-1:] == ("[key]",) and len(location) > 2 else location)  # noqa: PLR2004
    if kind == "extra_forbidden":
        if location[-1] in _READ_ONLY:
            return FieldError(pointer=where, code="read_only", detail="Is assigned by the service and cannot be sent.")
        if location[-1] in _FIXED:
            return FieldError(pointer=where, code="read_only", detail="Is set at creation and never changes.")
        return _unknown_field(where)
    if kind in {"string_type", "int_type", "dict_type"} and error["input"] is None:
        return FieldError(pointer=where, code="null", detail="Must not be null.")
    code, detail = _CODES.get(kind, ("wrong_type", "Has the wrong type."))
    if kind == "string_pattern_mismatch":
        code, detail = _PATTERNS.get(error["ctx"]["pattern"], (code, detail))
    if "{" in detail:
        detail = detail.format_map(error["ctx"])
    return FieldError(pointer=where, code=code, detail=detail)


def _pointer(base: str, location: tuple[int | str, ...]) -> str:
    """Extend a JSON pointer in its form as a URI fragment (RFC 6901, section 6)."""
    if len(location) == 1 and location[0] in _FIELDS:
        # Nearly always. The names of fields need no escaping.
        return f"{base}/{location[0]}"
    steps = (str(step)[:_MAX_NAME].replace("~", "~0").replace("/", "~1") for step in location)
    # A name may contain a lone surrogate, which has no form in UTF-8.
    return "/".join([base, *(quote(step, safe="~", errors="backslashreplace") for step in steps)])
