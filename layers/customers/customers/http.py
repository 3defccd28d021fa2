"""API Gateway's events and answers: what a request asks for, and the one place where an error becomes a status.

An endpoint is a function from Request to Response, under the decorator `endpoint`. All that is wrong with a request is
gathered and told at once: parameters as they are read, then the body.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import re
import time
import traceback
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from customers.customer import MAX_ID
from customers.errors import (
    CustomersError,
    FieldError,
    InvalidError,
    KeyReusedError,
    NotFoundError,
    StillRunningError,
    StoreUnavailableError,
    VersionMismatchError,
)
from customers.logs import count, logger, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from customers.customer import Customer
    from customers.errors import RequestErrorCode

MAX_BODY_BYTES: Final = 1024 * 1024
"""A hundred customers with the longest fields, every character escaped, are half of it."""

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
_MAX_TAGS: Final = 90
_ID: Final = re.compile(r"[1-9][0-9]{0,15}")
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_TAG: Final = re.compile(r'(W/)?"([^"]*)"')
_MEDIA_TYPE: Final = re.compile(r"\s*([^\s;]+)\s*(;.*)?", re.DOTALL)
_CHARSET: Final = re.compile(r';\s*charset\s*=\s*"?([^\s;"]*)', re.IGNORECASE)

_ORIGINS: Final = frozenset(filter(None, os.environ.get("CORS_ORIGINS", "").split(",")))
"""From which pages browsers may call."""


class UnsupportedMediaTypeError(CustomersError):
    """The body is of a kind that the endpoint does not take; the text says what it takes."""


class PayloadTooLargeError(CustomersError):
    """The body is over the limit."""


class Response(NamedTuple):
    """An answer: a status, headers, and a body to be written as JSON (None for none)."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = {}


class Request:
    """One HTTP request, from API Gateway's proxy event.

    https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html#apigateway-example-event

    Parameters
    ----------
    event
        The event.
    lambda_context
        Lambda's own knowledge of the invocation.
    """

    def __init__(self, event: Mapping[str, Any], lambda_context: object) -> None:
        self.lambda_context = lambda_context
        context = event["requestContext"]
        self.request_id: str = context["requestId"]
        self.path: str = _path_as_sent(event["path"], context.get("path") or "")
        self.query: dict[str, list[str]] = event.get("multiValueQueryStringParameters") or {}
        self.authorizer: dict[str, str] = context.get("authorizer") or {}
        self._event = event
        self._headers = {name.lower(): values for name, values in (event.get("multiValueHeaders") or {}).items()}
        self._known: set[str] = set()
        self._errors: list[FieldError] = []

    def header(self, name: str) -> str | None:
        """Give a header's value, its lines joined as in RFC 9110, section 5.3; None when it was not sent."""
        values = self._headers.get(name.lower())
        return None if values is None else ", ".join(values)

    def choice[T: str](self, name: str, choices: Sequence[T]) -> T:
        """Give a query parameter that takes one of some words, the first of them by default."""
        value = self._parameter(name)
        for choice in choices:
            if value == choice:
                return choice
        if value is not None:
            self.refuse(name, "not_a_choice", f"Must be one of: {', '.join(choices)}.")
        return choices[0]

    def flag(self, name: str) -> bool:
        """Give a query parameter that is `true` or `false`, the default."""
        return self.choice(name, ("false", "true")) == "true"

    def integer(self, name: str, least: int, most: int, default: int) -> int:
        """Give a query parameter that takes an integer."""
        value = self._parameter(name)
        if value is None:
            return default
        if not _INTEGER.fullmatch(value) or not least <= int(value) <= most:
            self.refuse(name, "not_in_range", f"Must be an integer from {least} to {most}.")
            return default
        return int(value)

    def text(self, name: str) -> str | None:
        """Give a query parameter that takes any text; None when it was not sent."""
        return self._parameter(name)

    def body[T](self, parse: Callable[[Any], T], *, merge_patch: bool = False) -> T:
        """Read the body, JSON, and close the list of what is wrong with the request.

        Parameters
        ----------
        parse
            Checks the JSON value, raises InvalidError.
        merge_patch
            Whether `application/merge-patch+json` is taken as well (RFC 7396).

        Raises
        ------
        UnsupportedMediaTypeError, PayloadTooLargeError
            Before anything is read.
        InvalidError
            With all that is wrong with the parameters and the body.
        """
        # Late, like the model itself: the endpoints without a body do not pay for it.
        from customers.model import parse_json  # noqa: PLC0415

        self.check_media_type(merge_patch=merge_patch)
        raw = self._body_bytes()
        if len(raw) > MAX_BODY_BYTES:
            raise PayloadTooLargeError(f"The body must have at most {MAX_BODY_BYTES} bytes.")
        try:
            parsed = parse(parse_json(raw))
        except InvalidError as error:
            self._errors += error.errors
        self.check()
        return parsed

    def check_media_type(self, *, merge_patch: bool = False) -> None:
        """Check that the body is JSON by its Content-Type, or has none.

        Parameters
        ----------
        merge_patch
            As in `body`.

        Raises
        ------
        UnsupportedMediaTypeError
            It is not.
        """
        taken = (JSON, MERGE_PATCH) if merge_patch else (JSON,)
        media_type = _MEDIA_TYPE.fullmatch(self.header("Content-Type") or JSON)
        charsets = {charset.lower() for charset in _CHARSET.findall(media_type[2] or "")} if media_type else set()
        if media_type is None or media_type[1].lower() not in taken or not charsets <= {"utf-8", "utf8"}:
            raise UnsupportedMediaTypeError(f"Send the body as {' or '.join(taken)}, in UTF-8.")

    def check(self) -> None:
        """Close the list of what is wrong with the request; without a body, call it once all parameters are read.

        Raises
        ------
        InvalidError
            A parameter is wrong, unknown, or given twice.
        """
        for name, values in self.query.items():
            if name not in self._known:
                self.refuse(name, "unknown_parameter", "There is no such parameter.")
            elif len(values) > 1:
                self.refuse(name, "repeated_parameter", "Must be given once.")
        if self._errors:
            raise InvalidError(self._errors)

    def idempotency_key(self) -> str | None:
        """Give the Idempotency-Key; None when it was not sent (or is wrong, which `body` will tell)."""
        key = self.header("Idempotency-Key")
        if key is None or IDEMPOTENCY_KEY.fullmatch(key):
            return key
        detail = "Must have 1 to 255 visible ASCII characters."
        self._errors.append(FieldError(header="Idempotency-Key", code="invalid_key", detail=detail))
        return None

    def fingerprint(self, purpose: str = "") -> str:
        """Give a digest of all that the request asks for: equal for a repetition, different for another request.

        Parameters
        ----------
        purpose
            Each has a digest of its own, which tells nothing of the others.
        """
        asked = json.dumps([purpose, self._event["httpMethod"], sorted(self.query.items())])
        return hashlib.sha256(asked.encode() + b"\n" + self._body_bytes()).hexdigest()

    def text_in_path(self, name: str) -> str:
        """Give a part of the path, as it was sent."""
        value: str | None = (self._event.get("pathParameters") or {}).get(name)
        return value or ""

    def id_in_path(self, name: str) -> int:
        """Give an id in the path.

        Raises
        ------
        NotFoundError
            It is no positive integer up to 2^53 - 1, so nothing has it.
        """
        value = self.text_in_path(name)
        if not _ID.fullmatch(value) or int(value) > MAX_ID:
            raise NotFoundError("An id is an integer from 1 to 2^53 - 1.")
        return int(value)

    def expected_versions(self) -> list[int] | None:
        """Give the versions that If-Match names (RFC 9110, section 13.1.1); None when any will do."""
        value = self.header("If-Match")
        if value is None or value.strip() == "*":
            return None
        # A weak tag never matches here, and a tag that is no version names none.
        versions = {int(tag) for weak, tag in _TAG.findall(value) if not weak and _ID.fullmatch(tag)}
        if len(versions) > _MAX_TAGS:
            detail = f"Must name at most {_MAX_TAGS} tags."
            self._errors.append(FieldError(header="If-Match", code="too_many_tags", detail=detail))
        return sorted(versions)[:_MAX_TAGS]

    def has(self, customer: Customer) -> bool:
        """Tell whether If-None-Match names a customer's current version (RFC 9110, section 13.1.2)."""
        value = self.header("If-None-Match")
        if value is None:
            return False
        return value.strip() == "*" or str(customer["version"]) in {tag for _, tag in _TAG.findall(value)}

    def _parameter(self, name: str) -> str | None:
        self._known.add(name)
        values = self.query.get(name)
        return values[-1] if values else None

    def refuse(self, parameter: str, code: RequestErrorCode, detail: str) -> None:
        """Add a query parameter to the list of what is wrong with the request."""
        self._errors.append(FieldError(parameter=parameter, code=code, detail=detail))

    def _body_bytes(self) -> bytes:
        body: str = self._event.get("body") or ""
        return base64.b64decode(body) if self._event.get("isBase64Encoded") else body.encode(errors="surrogatepass")


def etag(version: int) -> dict[str, str]:
    """Give the header that names a customer's version."""
    return {"ETag": f'"{version}"'}


def endpoint(handle: Callable[[Request], Response]) -> Callable[[dict[str, Any], object], dict[str, Any]]:
    """Make an endpoint a Lambda function's handler: it answers every event, with a problem if need be (RFC 9457)."""

    @functools.wraps(handle)
    def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
        started = time.perf_counter()
        request = Request(event, context)
        try:
            response = handle(request)
        except CustomersError as error:
            response = problem(error, request)
        except Exception as error:  # noqa: BLE001 (the last resort: anything unforeseen is 500, and is logged)
            _log_unforeseen(error, request)
            response = _unforeseen(request)
        milliseconds = round((time.perf_counter() - started) * 1000, 2)
        _log_answered(request, f"{event.get('httpMethod')} {event.get('resource')}", response.status, milliseconds)
        return _proxy_result(response, request)

    return lambda_handler


def _log_answered(request: Request, route: str, status: int, milliseconds: float) -> None:
    _log_cold_start()
    logger.info(
        "request",
        status=status,
        request_id=request.request_id,
        token_id=request.authorizer.get("token_id"),
        **metrics({"Latency": milliseconds}, "Milliseconds", {"route": route, "status_class": f"{status // 100}xx"}),
    )


@functools.cache
def _log_cold_start() -> None:
    # Cached, and so once in the life of a process.
    logger.info("cold start", **count({"ColdStarts": 1}))


def _path_as_sent(path: str, full_path: str) -> str:
    # On AWS the context's path has the stage before it, as clients send it; `sam local` puts the route's form there.
    return full_path if full_path.endswith(path) else path


def problem(error: CustomersError, request: Request) -> Response:  # noqa: PLR0911 (one for each error)
    """Give the answer that tells of an error."""
    match error:
        case InvalidError():
            what = 400, "invalid-request", "Invalid request", "See errors for all that is wrong."
            return _problem_response(request, *what, extra={"errors": error.errors})
        case NotFoundError():
            return _problem_response(request, 404, "not-found", "Not found", str(error))
        case StillRunningError():
            detail = "A request with this Idempotency-Key still runs. Repeat it after the seconds in Retry-After."
            return _problem_response(request, 409, "still-running", "Still running", detail, {"Retry-After": "1"})
        case VersionMismatchError():
            detail = "If-Match does not name the current version, which is in ETag. Read the customer again."
            headers = etag(error.current)
            return _problem_response(request, 412, "version-mismatch", "Version mismatch", detail, headers)
        case PayloadTooLargeError():
            return _problem_response(request, 413, "payload-too-large", "Payload too large", str(error))
        case UnsupportedMediaTypeError():
            return _problem_response(request, 415, "unsupported-media-type", "Unsupported media type", str(error))
        case KeyReusedError():
            detail = "This Idempotency-Key came before, with another request. Use a new key for each request."
            return _problem_response(request, 422, "key-reused", "Idempotency key reused", detail)
        case StoreUnavailableError():
            logger.warning("store unavailable", request_id=request.request_id, cause=type(error.__cause__).__name__)
            detail = "The store does not answer right now. Repeat the call after the seconds in Retry-After."
            return _problem_response(request, 503, "unavailable", "Service unavailable", detail, {"Retry-After": "1"})
        case _:
            _log_unforeseen(error, request)
            return _unforeseen(request)


def _unforeseen(request: Request) -> Response:
    detail = "The service failed. Repeat the call later; if it fails again, report the request_id."
    return _problem_response(request, 500, "internal-error", "Internal error", detail)


def _problem_response(  # noqa: PLR0913, PLR0917 (the members of a problem)
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
        "instance": request.path,
        "request_id": request.request_id,
        **(extra or {}),
    }
    return Response(status, members, {"Content-Type": "application/problem+json", **(headers or {})})


def _log_unforeseen(error: Exception, request: Request) -> None:
    # Where, not what: an exception's text may hold the values that it stumbled on.
    frames = [f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in traceback.extract_tb(error.__traceback__)]
    logger.error("unforeseen", request_id=request.request_id, exception_type=type(error).__name__, frames=frames)


def _proxy_result(response: Response, request: Request) -> dict[str, Any]:
    headers = {"X-Request-Id": request.request_id, **_cross_origin(request), **response.headers}
    if response.body is None:
        return {"statusCode": response.status, "headers": headers, "body": ""}
    headers.setdefault("Content-Type", JSON)
    body = json.dumps(response.body, ensure_ascii=False, separators=(",", ":"))
    return {"statusCode": response.status, "headers": headers, "body": body}


def _cross_origin(request: Request) -> dict[str, str]:
    """Give the headers by which a browser lets a page of another origin see the answer (the Fetch standard)."""
    if not _ORIGINS:
        return {}
    origin = request.header("Origin")
    # The answer differs by origin, whichever this one is.
    vary = {"Vary": "Origin"}
    if origin not in _ORIGINS:
        return vary
    exposed = "ETag, Idempotency-Replayed, Link, Location, Retry-After, X-Request-Id"
    return {**vary, "Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": exposed}
