"""What can go wrong, in the service's own terms. Only `http` knows the status of each error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RequestErrorCode = Literal[
    "required",
    "null",
    "wrong_type",
    "unknown_field",
    "read_only",
    "too_many_errors",
    "too_short",
    "too_long",
    "too_small",
    "too_large",
    "control_character",
    "invalid_unicode",
    "invalid_email",
    "invalid_external_id",
    "invalid_metadata_key",
    "too_many_entries",
    "metadata_too_large",
    "invalid_json",
    "empty",
    "unknown_parameter",
    "repeated_parameter",
    "not_together",
    "does_not_match_path",
    "duplicate",
    "taken",
    "not_a_choice",
    "not_in_range",
    "invalid_cursor",
    "invalid_tag",
    "too_many_tags",
    "invalid_key",
]
"""What can be wrong with a request. The same rules apply to the rows of an import."""

RowErrorCode = Literal[
    "wrong_cell_count",
    "not_utf8",
    "invalid_csv",
    "row_too_long",
    "not_processed",
    "deleted",
    "version_mismatch",
    "external_id_mismatch",
    "invalid_id",
    "invalid_version",
]
"""What else can be wrong with a row of an import."""


class FieldError(TypedDict):
    """One thing that is wrong with a request. Exactly one of `pointer`, `parameter` and `header` says where."""

    pointer: NotRequired[str]
    """A JSON pointer into the body, as a URI fragment (RFC 6901, section 6)."""
    parameter: NotRequired[str]
    """The name of a query parameter."""
    header: NotRequired[str]
    """The name of a header."""
    code: RequestErrorCode | RowErrorCode
    """What is wrong, for programs; stable."""
    detail: str
    """What is wrong, for people. Never shows the value."""
    customer_id: NotRequired[int]
    """The customer that has the external id, if it is taken."""


class CustomersError(Exception):
    """The base class of the errors below."""


class InvalidError(CustomersError):
    """The request breaks the rules.

    Parameters
    ----------
    errors
        Everything that is wrong with it, at least one.
    """

    def __init__(self, errors: Iterable[FieldError]) -> None:
        super().__init__()
        self.errors = list(errors)


class NotFoundError(CustomersError):
    """There is no such customer or group. The text says which."""


class ForbiddenError(CustomersError):
    """The token lacks a scope that the request needs. The text says which."""


class ExternalIdTakenError(CustomersError):
    """Other customers have the external ids of new ones.

    Parameters
    ----------
    holders
        The ids of the customers that have them, by the index of the new customer.
    listed
        Whether the new customers were sent as a list.
    """

    def __init__(self, holders: Mapping[int, int], *, listed: bool = False) -> None:
        super().__init__()
        self.holders = holders
        self.listed = listed

    @property
    def errors(self) -> list[FieldError]:
        """What is wrong with the request."""
        return [
            FieldError(
                pointer=f"#/customers/{index}/external_id" if self.listed else "#/external_id",
                code="taken",
                detail="Another customer has this external id.",
                customer_id=customer_id,
            )
            for index, customer_id in self.holders.items()
        ]


class VersionMismatchError(CustomersError):
    """The customer does not have the version that the caller expects.

    Parameters
    ----------
    current
        The version that it has; None if there is no such customer.
    """

    def __init__(self, current: int | None) -> None:
        super().__init__()
        self.current = current


class KeyReusedError(CustomersError):
    """An Idempotency-Key was used for another request."""


class StillRunningError(CustomersError):
    """The first request with an Idempotency-Key is running, or ended without a trace and might still be running."""


class StoreUnavailableError(CustomersError):
    """The store is throttling, or does not respond in time. Nothing is wrong with the request."""


class OutcomeUnknownError(StoreUnavailableError):
    """A write may or may not have been applied: its response was lost, and the store does not show it."""
