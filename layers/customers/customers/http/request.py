"""Requests, and the responses of endpoints.

Everything that is wrong with a request is collected and reported at once: first the parameters, as they are read, then
the body.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from customers.errors import CustomersError, FieldError, ForbiddenError, InvalidError, NotFoundError
from customers.http import entity_tags
from customers.ids import EXTERNAL_ID, EXTERNAL_ID_RULE, MAX_ID
from customers.store.author import Author

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from customers.errors import RequestErrorCode
    from customers.tokens import Scope

MAX_BODY_BYTES: Final = 1024 * 1024
"""Twice a hundred customers with the longest fields, every character escaped."""

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
_MAX_TAGS: Final = 90
IN_A_PATH: Final = "/:@!$&'()*+,;=~%"
"""What may stand in a path as it is (RFC 3986), besides letters, digits and what `quote` leaves alone."""
_NO_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_TAG_HEADERS: Final = ("If-Match", "If-None-Match")
_EVERY_VERSION: Final = range(1, 2**63)
_ID: Final = re.compile(r"[1-9][0-9]{0,15}")
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_MEDIA_TYPE: Final = re.compile(r"\s*([^\s;]+)\s*(;.*)?", re.DOTALL)
_CHARSET: Final = re.compile(r';\s*charset\s*=\s*"?([^\s;"]*)', re.IGNORECASE)


class UnsupportedMediaTypeError(CustomersError):
    """The endpoint does not accept a body of this kind. The text says what it accepts."""


class UnsupportedContentCodingError(CustomersError):
    """The body is compressed."""


class PayloadTooLargeError(CustomersError):
    """The body exceeds the limit."""


class Response(NamedTuple):
    """A status, headers, and a body to be written as JSON (None: no body)."""

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
        Lambda's context of the invocation.
    """

    def __init__(self, event: Mapping[str, Any], lambda_context: object) -> None:
        self.lambda_context = lambda_context
        context = event["requestContext"]
        self.request_id: str = context["requestId"]
        self.path: str = _path_as_sent(event["path"], context.get("path") or "")
        self.path_without_stage: str = event["path"]
        self.domain: str | None = context.get("domainName")
        self.is_head = event["httpMethod"] == "HEAD"
        self.query: dict[str, list[str]] = event.get("multiValueQueryStringParameters") or {}
        self.authorizer: dict[str, str] = context.get("authorizer") or {}
        self.author = Author(self.authorizer.get("token_id"), self.request_id)
        self._event = event
        self._headers = {name.lower(): values for name, values in (event.get("multiValueHeaders") or {}).items()}
        self._known: set[str] = set()
        self._tags_read: set[str] = set()
        self._errors: list[FieldError] = []

    def header(self, name: str) -> str | None:
        """Return a header's value, its lines joined as in RFC 9110, section 5.3; None if it was not sent."""
        values = self._headers.get(name.lower())
        return None if values is None else ", ".join(values)

    def choice[T: str](self, name: str, choices: Sequence[T]) -> T:
        """Return a query parameter that has one of several values, by default the first."""
        value = self._parameter(name)
        for choice in choices:
            if value == choice:
                return choice
        if value is not None:
            self.refuse(name, "not_a_choice", f"Must be one of: {', '.join(choices)}.")
        return choices[0]

    def flag(self, name: str) -> bool:
        """Return a query parameter that is `true` or `false`, by default `false`."""
        return self.choice(name, ("false", "true")) == "true"

    def integer(self, name: str, least: int, most: int, default: int) -> int:
        """Return a query parameter that is an integer."""
        value = self._parameter(name)
        if value is None:
            return default
        if not _INTEGER.fullmatch(value) or not least <= int(value) <= most:
            self.refuse(name, "not_in_range", f"Must be an integer from {least} to {most}.")
            return default
        return int(value)

    def text(self, name: str) -> str | None:
        """Return a query parameter that is any text; None if it was not sent."""
        return self._parameter(name)

    def body[T](self, parse: Callable[[Any], T], *, merge_patch: bool = False) -> T:
        """Read the body, which is JSON, and raise everything that is wrong with the request.

        Parameters
        ----------
        parse
            Checks the JSON value; raises InvalidError.
        merge_patch
            Whether `application/merge-patch+json` is accepted as well (RFC 7396).

        Raises
        ------
        UnsupportedMediaTypeError, UnsupportedContentCodingError, PayloadTooLargeError
            Before anything is read.
        InvalidError
            With everything that is wrong with the parameters and the body.
        """
        # Imported late, because the endpoints without a body do not need it.
        from customers.json_text import parse_json  # noqa: PLC0415

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
        """Check that the body is JSON, or has no Content-Type, and is not compressed.

        Parameters
        ----------
        merge_patch
            As in `body`.

        Raises
        ------
        UnsupportedMediaTypeError
            It is of another type.
        UnsupportedContentCodingError
            It is compressed.
        """
        taken = (JSON, MERGE_PATCH) if merge_patch else (JSON,)
        media_type = _MEDIA_TYPE.fullmatch(self.header("Content-Type") or JSON)
        charsets = {charset.lower() for charset in _CHARSET.findall(media_type[2] or "")} if media_type else set()
        if media_type is None or media_type[1].lower() not in taken or not charsets <= {"utf-8", "utf8"}:
            raise UnsupportedMediaTypeError(f"Send the body as {' or '.join(taken)}, in UTF-8.")
        codings = (self.header("Content-Encoding") or "").lower().split(",")
        if any(coding.strip() not in {"", "identity"} for coding in codings):
            raise UnsupportedContentCodingError

    def check(self) -> None:
        """Raise everything that is wrong with the request. Without a body, call it once all parameters are read.

        Raises
        ------
        InvalidError
            A parameter is wrong, unknown or repeated.
        """
        for name, values in self.query.items():
            if name not in self._known:
                self.refuse(name, "unknown_parameter", "There is no such parameter.")
            elif len(values) > 1:
                self.refuse(name, "repeated_parameter", "Must not be repeated.")
        for header in _TAG_HEADERS:
            # Also where it does not count: who sends it wrong believes that it does.
            if header not in self._tags_read:
                self._versions(header)
        if self._errors:
            raise InvalidError(self._errors)

    def idempotency_key(self) -> str | None:
        """Return the Idempotency-Key; None if it was not sent, or is wrong, which `body` then reports."""
        key = self.header("Idempotency-Key")
        if key is None or IDEMPOTENCY_KEY.fullmatch(key):
            return key
        detail = "Must have 1 to 255 visible ASCII characters."
        self._errors.append(FieldError(header="Idempotency-Key", code="invalid_key", detail=detail))
        return None

    def fingerprint(self, purpose: str = "") -> str:
        """Return a digest of what the request asks for: equal for a repetition, different for another request.

        Parameters
        ----------
        purpose
            Each purpose has its own digest, which reveals nothing about the others.
        """
        asked = json.dumps([purpose, self._event["httpMethod"], sorted(self.query.items())])
        return hashlib.sha256(asked.encode() + b"\n" + self._body_bytes()).hexdigest()

    def text_in_path(self, name: str) -> str:
        """Return a part of the path, as it was sent."""
        return str((self._event.get("pathParameters") or {}).get(name) or "")

    def id_in_path(self, name: str) -> int:
        """Return an id in the path.

        Raises
        ------
        NotFoundError
            It is not a positive integer up to 2^53 - 1, so nothing has it.
        """
        value = self.text_in_path(name)
        if not _ID.fullmatch(value) or int(value) > MAX_ID:
            raise NotFoundError("An id is an integer from 1 to 2^53 - 1.")
        return int(value)

    def external_id_in_path(self) -> str:
        """Return the external id in the path.

        Raises
        ------
        NotFoundError
            It is not a valid one, so no customer has it or can get it.
        """
        value = self.text_in_path("external_id")
        if not re.fullmatch(EXTERNAL_ID, value):
            raise NotFoundError(f"An external id has {EXTERNAL_ID_RULE}.")
        return value

    def require_scope(self, scope: Scope) -> None:
        """Make sure that the token has a scope that the gateway does not check.

        Raises
        ------
        ForbiddenError
            It does not.
        """
        if scope not in self.authorizer.get("scopes", "").split():
            raise ForbiddenError(f"The token lacks the scope {scope}.")

    def expected_existence(self) -> bool | None:
        """Return whether the resource must exist (If-Match) or must not (`If-None-Match: *`); None if neither is said.

        https://www.rfc-editor.org/rfc/rfc9110#section-13.1
        """
        if_match, if_none_match = self.header("If-Match"), self.header("If-None-Match")
        self._tags_read.add("If-None-Match")
        if if_none_match is None:
            return None if if_match is None else True
        if if_none_match.strip() != "*":
            detail = "Must be *, which means: create only."
            self._errors.append(FieldError(header="If-None-Match", code="invalid_tag", detail=detail))
        if if_match is not None:
            detail = "If-Match and If-None-Match contradict each other. Send one of them."
            self._errors.append(FieldError(header="If-None-Match", code="not_together", detail=detail))
        return False

    def expected_versions(self) -> list[int] | None:
        """Return the versions that If-Match names (RFC 9110, section 13.1.1); None for any version."""
        versions = self._versions("If-Match")
        if versions is None or isinstance(versions, range):
            return None
        if len(versions) > _MAX_TAGS:
            detail = f"Must name at most {_MAX_TAGS} tags."
            self._errors.append(FieldError(header="If-Match", code="too_many_tags", detail=detail))
        return sorted(versions)[:_MAX_TAGS]

    def known_versions(self) -> Container[int]:
        """Return the versions that If-None-Match names, which the caller has (RFC 9110, section 13.1.2)."""
        return self._versions("If-None-Match") or ()

    def _versions(self, header: str) -> set[int] | range | None:
        """Return the versions that a header names, with `*` every version; None if it was not sent."""
        self._tags_read.add(header)
        value = self.header(header)
        if value is None:
            return None
        if value.strip(" \t") == "*":
            return _EVERY_VERSION
        versions = entity_tags.versions(value)
        if versions is None:
            detail = 'Must be * or a list of entity tags, in quotes as ETag has them: "3".'
            self._errors.append(FieldError(header=header, code="invalid_tag", detail=detail))
            return set()
        return versions

    @property
    def instance(self) -> str:
        """The path as a URI reference (RFC 3986), whatever the client sent."""
        path = quote(_NO_ESCAPE.sub("%25", self.path), safe=IN_A_PATH)
        # Two slashes would begin an authority.
        return f"/.{path}" if path.startswith("//") else path

    def _parameter(self, name: str) -> str | None:
        self._known.add(name)
        values = self.query.get(name)
        return values[-1] if values else None

    def refuse(self, parameter: str, code: RequestErrorCode, detail: str) -> None:
        """Add a query parameter to what is wrong with the request."""
        self._errors.append(FieldError(parameter=parameter, code=code, detail=detail))

    def _body_bytes(self) -> bytes:
        body: str = self._event.get("body") or ""
        return base64.b64decode(body) if self._event.get("isBase64Encoded") else body.encode(errors="surrogatepass")


def _path_as_sent(path: str, full_path: str) -> str:
    # On AWS the context's path begins with the stage, as clients send it. `sam local` puts the route's template there.
    return full_path if full_path.endswith(path) else path
