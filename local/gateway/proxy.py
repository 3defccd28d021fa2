"""Lambda proxy integration of REST APIs: an HTTP request as an event, a function's result as an HTTP response.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, unquote

from local.gateway.responses import Response
from local.template.document import ACCOUNT_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.template.stack import Api, Route

# The gateway sets these itself, and renames those that a function returns.
_REMAPPED: Final = frozenset(
    {"authorization", "connection", "content-md5", "date", "expect", "host", "max-forwards", "server", "te", "trailer"}
    | {"upgrade", "user-agent", "via", "www-authenticate"}
)
_DROPPED: Final = frozenset({"content-length", "transfer-encoding", "keep-alive"})
_NO_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BODILESS: Final = frozenset({204, 304})
_STATUSES: Final = range(200, 600)


class MalformedResultError(Exception):
    """A function's result is not what a proxy integration must return."""


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request, as it was sent."""

    method: str
    path: str
    """Percent-encoded."""
    query: str
    headers: Mapping[str, list[str]]
    """By name, spelled as it is passed on."""
    body: bytes
    remote_address: str
    domain: str
    """Where the gateway listens, such as `127.0.0.1:3000`."""
    protocol: str
    """Such as `HTTP/1.1`."""
    request_id: str

    def header(self, name: str) -> str | None:
        """Return a header's last value. None if it was not sent."""
        for key, values in self.headers.items():
            if key.lower() == name:
                return values[-1]
        return None


def proxy_event(
    request: Request, api: Api, route: Route, parameters: Mapping[str, str], authorizer: Mapping[str, str] | None
) -> bytes:
    """Return the event for a route's function, as JSON.

    Parameters
    ----------
    request
        What was sent.
    api, route
        Where it arrived.
    parameters
        The path's parameters, still percent-encoded.
    authorizer
        What the authorizer said about the caller. None if the route has no authorizer.
    """
    query: dict[str, list[str]] = {}
    for name, value in parse_qsl(request.query, keep_blank_values=True, errors="replace"):
        query.setdefault(name, []).append(value)
    body, is_base64 = _event_body(request, api.binary_media_types)
    context = _request_context(request, api, route)
    if authorizer is not None:
        context["authorizer"] = authorizer
    event = {
        "resource": route.resource,
        "path": request.path,
        "httpMethod": request.method,
        "headers": {name: values[-1] for name, values in request.headers.items()},
        "multiValueHeaders": request.headers,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": {name: unquote(value) for name, value in parameters.items()} or None,
        "stageVariables": None,
        "requestContext": context,
        "body": body,
        "isBase64Encoded": is_base64,
    }
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def _request_context(request: Request, api: Api, route: Route) -> dict[str, Any]:
    now = time.time()
    return {
        "accountId": ACCOUNT_ID,
        "apiId": api.api_id,
        # Those of AWS have no port. `sam local` adds it too.
        "domainName": request.domain,
        "domainPrefix": "localhost",
        "extendedRequestId": base64.urlsafe_b64encode(uuid.uuid4().bytes[:11]).decode(),
        "httpMethod": request.method,
        "identity": {
            "accessKey": None,
            "accountId": None,
            "caller": None,
            "cognitoAuthenticationProvider": None,
            "cognitoAuthenticationType": None,
            "cognitoIdentityId": None,
            "cognitoIdentityPoolId": None,
            "principalOrgId": None,
            "sourceIp": request.remote_address,
            "user": None,
            "userAgent": request.header("user-agent"),
            "userArn": None,
        },
        "path": request.path,
        "protocol": request.protocol,
        "requestId": request.request_id,
        "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
        "requestTimeEpoch": int(now * 1000),
        # AWS makes one up for each resource, which never changes.
        "resourceId": hashlib.sha256(route.resource.encode()).hexdigest()[:6],
        "resourcePath": route.resource,
        "stage": api.stage,
    }


def proxy_response(result: bytes, request_id: str) -> Response:
    """Return the HTTP response that a function's result describes.

    Raises
    ------
    MalformedResultError
        If it describes none.
    """
    value = json.loads(result)
    if not isinstance(value, dict):
        raise MalformedResultError("the result is not an object")
    try:
        status = int(value["statusCode"])
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedResultError("statusCode is missing or not a number") from error
    if status not in _STATUSES:
        raise MalformedResultError(f"statusCode is {status}")
    headers = _response_headers(value)
    body = _response_body(value)
    if status in _BODILESS:
        body = b""
    elif not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    headers.append(("x-amzn-RequestId", request_id))
    return Response(status, headers, body)


def encoded_path(target: str) -> str:
    """Return the path of a request target (RFC 9112) as it was sent. Percent-encode what a URI cannot contain.

    Parameters
    ----------
    target
        As in WSGI: bytes read as Latin-1.
    """
    path = target.partition("?")[0].partition("#")[0]
    if not path.startswith("/"):
        # The absolute form, which proxies send.
        path = "/" + path.partition("://")[2].partition("/")[2]
    return quote(_NO_ESCAPE.sub("%25", path), safe="/:@!$&'()*+,;=~%", encoding="latin-1")


def _event_body(request: Request, binary_media_types: frozenset[str]) -> tuple[str | None, bool]:
    if not request.body:
        return None, False
    # Without a type, a REST API treats a body as JSON.
    media_type = (request.header("content-type") or "application/json").partition(";")[0].strip().lower()
    if media_type in binary_media_types or "*/*" in binary_media_types:
        return base64.b64encode(request.body).decode(), True
    return request.body.decode(errors="replace"), False


def _response_headers(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    single = result.get("headers") or {}
    multiple = result.get("multiValueHeaders") or {}
    if not isinstance(single, dict) or not isinstance(multiple, dict):
        raise MalformedResultError("headers are not an object")
    # If both name a header, AWS uses the list.
    listed = {name.lower() for name in multiple}
    pairs = [(name, value) for name, value in single.items() if name.lower() not in listed]
    for name, values in multiple.items():
        if not isinstance(values, list):
            raise MalformedResultError(f"multiValueHeaders: {name} is not a list")
        pairs += [(name, value) for value in values]
    headers: list[tuple[str, str]] = []
    for name, value in pairs:
        if not isinstance(value, str | int | float):
            raise MalformedResultError(f"header {name} is not a string")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        # Anything else could add headers, or cannot be sent.
        if not (name + text).isascii() or not (name + text).isprintable() or not name or " " in name or ":" in name:
            raise MalformedResultError(f"header {name!r} cannot be sent")
        if name.lower() in _REMAPPED:
            headers.append((f"x-amzn-Remapped-{name}", text))
        elif name.lower() not in _DROPPED:
            headers.append((name, text))
    return headers


def _response_body(result: Mapping[str, Any]) -> bytes:
    body = result.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedResultError("body is not a string")
    if result.get("isBase64Encoded") is True:
        try:
            return base64.b64decode(body, validate=True)
        except binascii.Error as error:
            raise MalformedResultError("body is not base64") from error
    return body.encode()
