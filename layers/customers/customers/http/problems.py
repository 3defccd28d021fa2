"""The one place where an error becomes an HTTP status: a problem (RFC 9457)."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, Final

from customers.errors import (
    CustomersError,
    ExternalIdTakenError,
    ForbiddenError,
    InvalidError,
    KeyReusedError,
    NotFoundError,
    OutcomeUnknownError,
    StillRunningError,
    StoreUnavailableError,
    VersionMismatchError,
)
from customers.http.entity_tags import etag
from customers.http.request import (
    PayloadTooLargeError,
    Response,
    UnsupportedContentCodingError,
    UnsupportedMediaTypeError,
)
from customers.logs import logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from customers.http.request import Request

_RETRY: Final[dict[str, str]] = {"Retry-After": "1"}
"""Seconds."""

_PROBLEMS: Final[dict[type[CustomersError], tuple[int, str, str, str | None]]] = {
    InvalidError: (400, "invalid-request", "Invalid request", "See errors for everything that is wrong."),
    ForbiddenError: (403, "forbidden", "Forbidden", None),
    NotFoundError: (404, "not-found", "Not found", None),
    ExternalIdTakenError: (
        409,
        "external-id-taken",
        "External id taken",
        "Another customer has this external id. To create or replace, use PUT with the external id.",
    ),
    StillRunningError: (
        409,
        "still-running",
        "Still running",
        "A request with this Idempotency-Key is still running. Repeat it after the seconds in Retry-After.",
    ),
    VersionMismatchError: (
        412,
        "version-mismatch",
        "Version mismatch",
        "The customer is not in the state that If-Match or If-None-Match expects. Read it again.",
    ),
    PayloadTooLargeError: (413, "payload-too-large", "Payload too large", None),
    UnsupportedMediaTypeError: (415, "unsupported-media-type", "Unsupported media type", None),
    UnsupportedContentCodingError: (
        415,
        "unsupported-media-type",
        "Unsupported media type",
        "Send the body without Content-Encoding.",
    ),
    KeyReusedError: (
        422,
        "key-reused",
        "Idempotency key reused",
        "This Idempotency-Key was used for another request. Use a new key for each request.",
    ),
}
"""For each error: its status, name, title and detail (None: the text of the error)."""


def problem(error: CustomersError, request: Request) -> Response:
    """Return the response that reports an error."""
    if isinstance(error, StoreUnavailableError):
        return _unavailable(error, request)
    known = _PROBLEMS.get(type(error))
    if known is None:
        return unforeseen(error, request)
    status, name, title, detail = known
    headers, members = _details(error)
    return _response(request, status, name, title, str(error) if detail is None else detail, headers, members)


def _details(error: CustomersError) -> tuple[Mapping[str, str], Mapping[str, Any]]:
    """Return the headers and the members that only this kind of error has."""
    match error:
        case InvalidError():
            return {}, {"errors": error.errors}
        case ExternalIdTakenError():
            holder = {} if error.listed else {"customer_id": error.holders[0]}
            return {}, {**holder, "errors": error.errors}
        case StillRunningError():
            return _RETRY, {}
        case UnsupportedContentCodingError():
            # The header says that the coding is what was wrong, not the media type (RFC 9110, section 15.5.16).
            return {"Accept-Encoding": "identity"}, {}
        case VersionMismatchError(current=int(current)):
            return etag(current), {}
        case _:
            return {}, {}


def unforeseen(error: Exception, request: Request) -> Response:
    """Log an error that nobody expected, and return the response that reports it."""
    # Where, not what, because an exception's text may contain customers' values.
    frames = [f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in traceback.extract_tb(error.__traceback__)]
    logger.error("unforeseen", request_id=request.request_id, exception_type=type(error).__name__, frames=frames)
    detail = "The service failed. Repeat the call later; if it fails again, report the request_id."
    return _response(request, 500, "internal-error", "Internal error", detail)


def _unavailable(error: StoreUnavailableError, request: Request) -> Response:
    logger.warning("store unavailable", request_id=request.request_id, cause=type(error.__cause__).__name__)
    detail = "The store does not respond right now. Repeat the call after the seconds in Retry-After."
    if isinstance(error, OutcomeUnknownError):
        detail = (
            "The store did not confirm the change, which may have been made. "
            "After the seconds in Retry-After, look whether it was, then decide whether to repeat the call."
        )
    return _response(request, 503, "unavailable", "Service unavailable", detail, _RETRY)


def _response(  # noqa: PLR0913, PLR0917 (the members of a problem)
    request: Request,
    status: int,
    name: str,
    title: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Response:
    members = {
        "type": f"/problems/{name}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": request.instance,
        "request_id": request.request_id,
        **(extra or {}),
    }
    return Response(status, members, {"Content-Type": "application/problem+json", **(headers or {})})
