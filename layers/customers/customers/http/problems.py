"""The one place where an error becomes an HTTP status: a problem (RFC 9457)."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from customers.errors import (
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

    from customers.errors import CustomersError
    from customers.http.request import Request

_RETRY: dict[str, str] = {"Retry-After": "1"}
"""Seconds."""


def problem(error: CustomersError, request: Request) -> Response:  # noqa: PLR0911 (one for each error)
    """Return the response that reports an error."""
    match error:
        case InvalidError():
            what = 400, "invalid-request", "Invalid request", "See errors for everything that is wrong."
            return _response(request, *what, extra={"errors": error.errors})
        case NotFoundError():
            return _response(request, 404, "not-found", "Not found", str(error))
        case StillRunningError():
            detail = "A request with this Idempotency-Key is still running. Repeat it after the seconds in Retry-After."
            return _response(request, 409, "still-running", "Still running", detail, _RETRY)
        case VersionMismatchError():
            detail = "If-Match does not name the current version, which is in ETag. Read the customer again."
            return _response(request, 412, "version-mismatch", "Version mismatch", detail, etag(error.current))
        case PayloadTooLargeError():
            return _response(request, 413, "payload-too-large", "Payload too large", str(error))
        case UnsupportedMediaTypeError():
            return _response(request, 415, "unsupported-media-type", "Unsupported media type", str(error))
        case UnsupportedContentCodingError():
            detail = "Send the body without Content-Encoding."
            # The header says that the coding is what was wrong, not the media type (RFC 9110, section 15.5.16).
            what = 415, "unsupported-media-type", "Unsupported media type", detail
            return _response(request, *what, {"Accept-Encoding": "identity"})
        case KeyReusedError():
            detail = "This Idempotency-Key was used for another request. Use a new key for each request."
            return _response(request, 422, "key-reused", "Idempotency key reused", detail)
        case StoreUnavailableError():
            return _unavailable(error, request)
        case _:
            return unforeseen(error, request)


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
            "Read the customer after the seconds in Retry-After, then decide whether to repeat the call."
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
