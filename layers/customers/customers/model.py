"""What a client may send, and everything that is wrong with what it sent. Knows nothing of AWS or of HTTP."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NotRequired, TypedDict
from urllib.parse import quote

from pydantic_core import PydanticCustomError, SchemaValidator, ValidationError, core_schema, from_json

from customers.customer import MAX_ID
from customers.errors import FieldError, InvalidError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from customers.errors import RequestErrorCode

MAX_ROWS: Final = 100
"""Customers in one call: what one DynamoDB transaction holds."""

_MAX_ERRORS: Final = 100
"""Of one object: all that its known fields can have, and plenty of unknown ones."""

_READ_ONLY: Final = frozenset({"id", "version", "created_at", "updated_at"})

_ORDINARY_EMAIL: Final = re.compile(
    r"(?=[^@]{1,64}@)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?=.{1,253}\Z)(?:(?![^.]{64})(?!..--)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)
"""The addresses that need no closer look: a dot-atom at a domain name of plain letters and digits (RFC 5321)."""


def _email(value: str) -> str:
    if _ORDINARY_EMAIL.fullmatch(value) is None:
        _look_closer(value)
    local, _, domain = value.rpartition("@")
    return f"{local}@{domain.lower()}"


def _look_closer(value: str) -> None:
    # Imported late: few requests need it, and every cold start would pay for it.
    import email_validator  # noqa: PLC0415

    # Whether mail reaches an address is not ours to judge: the names reserved for tests are valid (RFC 2606).
    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()
    try:
        email_validator.validate_email(value, check_deliverability=False, strict=True)
    except email_validator.EmailNotValidError:
        raise PydanticCustomError("invalid_email", "not an address") from None


class NewCustomer(TypedDict):
    """A customer to create: the body of POST, a row of an import."""

    first_name: str
    last_name: str
    email: str
    group_id: int
    age: NotRequired[int | None]


class Changes(TypedDict, total=False):
    """The fields that a PATCH changes, and no others (JSON merge patch, RFC 7396); `age` null clears it."""

    first_name: str
    last_name: str
    email: str
    group_id: int
    age: int | None


# The rules are in the words of pydantic's core. Pydantic would make them from annotations, at each cold start, and
# loading it takes longer than everything else that a POST does there (docs/performance.md).
# No control characters (Unicode's category Cc); the length counts code points, after trimming.
_NO_CONTROLS: Final = r"^[^\x00-\x1f\x7f-\x9f]*$"
_NAME: Final = core_schema.str_schema(strip_whitespace=True, min_length=1, max_length=100, pattern=_NO_CONTROLS)
_FIELDS: Final = {
    "first_name": _NAME,
    "last_name": _NAME,
    "email": core_schema.no_info_after_validator_function(_email, core_schema.str_schema(max_length=254)),
    "group_id": core_schema.int_schema(ge=1, le=MAX_ID),
    "age": core_schema.nullable_schema(core_schema.int_schema(ge=0, le=150)),
}


def _rules(*required: str) -> core_schema.TypedDictSchema:
    fields = {name: core_schema.typed_dict_field(schema, required=name in required) for name, schema in _FIELDS.items()}
    return core_schema.typed_dict_schema(fields, extra_behavior="forbid", config={"strict": True})


NEW_CUSTOMER: Final = _rules("first_name", "last_name", "email", "group_id")
CHANGES: Final = _rules()

_NAME_OF_ANY_LENGTH: Final = SchemaValidator(core_schema.str_schema(strip_whitespace=True, pattern=_NO_CONTROLS))
_NEW_CUSTOMER: Final = SchemaValidator(NEW_CUSTOMER)
_CHANGES: Final = SchemaValidator(CHANGES)


def parse_json(body: bytes) -> Any:  # noqa: ANN401 (JSON may be anything)
    """Read a JSON text (RFC 8259): UTF-8, no NaN or Infinity, at most 200 levels deep.

    Raises
    ------
    InvalidError
        It is none.
    """
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidError(
            [FieldError(pointer="#", code="invalid_json", detail=f"Not a JSON text in UTF-8: {error}.")]
        ) from None


def new_customer(value: object, pointer: str = "#") -> NewCustomer:
    """Check one customer to create.

    Parameters
    ----------
    value
        A parsed JSON value.
    pointer
        Where in the body it stands: the errors' pointers begin with it.

    Raises
    ------
    InvalidError
        With everything that is wrong with it.
    """
    checked: NewCustomer = _validated(_NEW_CUSTOMER, value, pointer)
    return checked


def row_outcomes(body: object) -> list[NewCustomer | InvalidError]:
    """Check each row of a body `{"customers": [...]}`: the customer to create, or what is wrong with it.

    Raises
    ------
    InvalidError
        It is not such a body, or does not hold 1 to 100 rows. With all that is wrong with it, its rows included.
    """
    if not isinstance(body, dict):
        raise InvalidError([_not_an_object("#")])
    errors = [
        FieldError(pointer=_pointer("#", (name,)), code="unknown_field", detail="There is no such field.")
        for name in body
        if name != "customers"
    ]
    errors = _bounded(errors, "#")
    rows = body.get("customers")
    outcomes: list[NewCustomer | InvalidError] = []
    if not isinstance(rows, list):
        code: RequestErrorCode = "wrong_type" if "customers" in body else "required"
        errors.append(FieldError(pointer="#/customers", code=code, detail="Must be an array of customers."))
    elif not 1 <= len(rows) <= MAX_ROWS:
        code = "too_long" if rows else "too_short"
        errors.append(FieldError(pointer="#/customers", code=code, detail=f"Must hold 1 to {MAX_ROWS} customers."))
    else:
        outcomes = [_outcome(row, f"#/customers/{index}") for index, row in enumerate(rows)]
    if errors:
        raise InvalidError(errors + _row_errors(outcomes))
    return outcomes


def new_customers(body: object) -> list[NewCustomer]:
    """Check a body `{"customers": [...]}` of which every row must be right.

    Raises
    ------
    InvalidError
        With everything that is wrong with it.
    """
    outcomes = row_outcomes(body)
    if errors := _row_errors(outcomes):
        raise InvalidError(errors)
    return [outcome for outcome in outcomes if not isinstance(outcome, InvalidError)]


def _outcome(row: object, pointer: str) -> NewCustomer | InvalidError:
    try:
        return new_customer(row, pointer)
    except InvalidError as error:
        return error


def _row_errors(outcomes: list[NewCustomer | InvalidError]) -> list[FieldError]:
    return [error for outcome in outcomes if isinstance(outcome, InvalidError) for error in outcome.errors]


def changes(value: object) -> Changes:
    """Check a merge patch.

    Raises
    ------
    InvalidError
        With everything that is wrong with it; an empty one changes nothing and is wrong too.
    """
    checked: Changes = _validated(_CHANGES, value, "#")
    if not checked:
        raise InvalidError([FieldError(pointer="#", code="empty", detail="Name at least one field to change.")])
    return checked


def _validated(rules: SchemaValidator, value: object, pointer: str) -> Any:  # noqa: ANN401 (as the rules say)
    # The rules take any mapping; JSON has one kind, and its message names JSON's word for it.
    if not isinstance(value, dict):
        raise InvalidError([_not_an_object(pointer)])
    try:
        return rules.validate_python(value)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=True)
        details += [further for detail in details for further in _beside_length(detail)]
        raise InvalidError(_bounded([_field_error(detail, pointer) for detail in details], pointer)) from None


def _beside_length(error: ErrorDetails) -> list[ErrorDetails]:
    """Give what else is wrong with a name that is too long: the core stops at the first error of a value."""
    if error["type"] != "string_too_long" or error["loc"] == ("email",):
        return []
    try:
        _NAME_OF_ANY_LENGTH.validate_python(error["input"])
    except ValidationError as further:
        return [{**detail, "loc": error["loc"]} for detail in further.errors(include_url=False)]
    return []


def _bounded(errors: list[FieldError], pointer: str) -> list[FieldError]:
    """Keep the answer within Lambda's 6 MB, whatever a client makes of unknown fields; the known ones come first."""
    if len(errors) <= _MAX_ERRORS:
        return errors
    detail = f"Has more than {_MAX_ERRORS} errors, of which these are the first."
    return [*errors[:_MAX_ERRORS], FieldError(pointer=pointer, code="too_many_errors", detail=detail)]


def _not_an_object(pointer: str) -> FieldError:
    return FieldError(pointer=pointer, code="wrong_type", detail="Must be a JSON object.")


_CODES: Final[dict[str, tuple[RequestErrorCode, str]]] = {
    "invalid_email": ("invalid_email", "Must be a valid email address, like name@example.com."),
    "missing": ("required", "Is required."),
    "string_type": ("wrong_type", "Must be a string."),
    "int_type": ("wrong_type", "Must be an integer."),
    "string_too_short": ("too_short", "Must not be blank."),
    "string_too_long": ("too_long", "Must have at most {max_length} characters."),
    "string_pattern_mismatch": ("control_character", "Must not hold control characters."),
    "string_unicode": ("invalid_unicode", "Must be valid Unicode."),
    "greater_than_equal": ("too_small", "Must be at least {ge}."),
    "less_than_equal": ("too_large", "Must be at most {le}."),
}
"""The core's error types, as the contract's stable codes and words."""


def _field_error(error: ErrorDetails, pointer: str) -> FieldError:
    kind, where = error["type"], _pointer(pointer, error["loc"])
    if kind == "extra_forbidden":
        if error["loc"][-1] in _READ_ONLY:
            return FieldError(pointer=where, code="read_only", detail="Is given by the service and cannot be sent.")
        return FieldError(pointer=where, code="unknown_field", detail="There is no such field.")
    if kind in {"string_type", "int_type"} and error["input"] is None:
        return FieldError(pointer=where, code="null", detail="Must not be null.")
    code, detail = _CODES.get(kind, ("wrong_type", "Has the wrong type."))
    return FieldError(pointer=where, code=code, detail=detail.format_map(error.get("ctx", {})))


def _pointer(base: str, location: tuple[int | str, ...]) -> str:
    """Extend a JSON pointer in its form as a URI fragment (RFC 6901, section 6)."""
    # A key that is not valid Unicode cannot come from JSON in UTF-8, so quoting cannot fail.
    steps = (quote(str(step).replace("~", "~0").replace("/", "~1"), safe="~") for step in location)
    return "/".join([base, *steps])
