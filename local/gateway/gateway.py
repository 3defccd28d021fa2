"""API Gateway: a WSGI application that passes requests to the functions of a stack."""

from __future__ import annotations

import gzip
import http
import logging
import secrets
import time
import uuid
import zlib
from typing import TYPE_CHECKING, Final

from werkzeug.datastructures import Accept
from werkzeug.exceptions import NotFound
from werkzeug.http import parse_accept_header
from werkzeug.routing import Map, Rule

from local.errors import IntegrationTimeoutError, InvocationError, TemplateError
from local.gateway.authorizer import RefusedError, TokenAuthorizer
from local.gateway.proxy import MalformedResultError, Request, encoded_path, proxy_event, proxy_response
from local.gateway.request_log import CALL, GATEWAY, Call, shown_path
from local.gateway.responses import GatewayResponses, Response
from local.gateway.throttle import TokenBucket
from local.runtime.functions import MAX_PAYLOAD
from local.template.document import ACCOUNT_ID, PARTITION, REGION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from wsgiref.types import StartResponse, WSGIEnvironment

    from local.runtime.functions import FunctionPool
    from local.template.stack import Api, Route

MAX_BODY: Final = 10 * 1024 * 1024
"""Bytes that API Gateway accepts (https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html)."""
RAW_HEADERS: Final = "local.raw_headers"
"""WSGI variable with the headers as they were sent, names and values: WSGI's own form merges repeated names."""
_MAX_HEADERS: Final = 10_240
"""Bytes of request line and headers that API Gateway accepts (same page)."""
_CODINGS: Final[Mapping[str, Callable[[bytes], bytes]]] = {"gzip": gzip.compress, "deflate": zlib.compress}
_PARAMETER_TYPES: Final = {True: "path", False: "default"}

_LOG: Final = logging.getLogger(__name__)


class Gateway:
    """Serves an API.

    Parameters
    ----------
    api
        What the template declares.
    pools
        The functions, by logical id.
    """

    def __init__(self, api: Api, pools: Mapping[str, FunctionPool]) -> None:
        self._api = api
        self._pools = pools
        self._responses = GatewayResponses(api.gateway_responses)
        self._authorizers = {
            name: TokenAuthorizer(authorizer, pools[authorizer.function])
            for name, authorizer in api.authorizers.items()
        }
        self._throttle = TokenBucket(api.throttle.rate, api.throttle.burst) if api.throttle else None
        self._routes: dict[tuple[str, str], Route] = {(route.resource, route.method): route for route in api.routes}
        # werkzeug must not match methods: it would answer HEAD wherever there is GET.
        self._resources = Map(
            [_rule(resource) for resource in dict.fromkeys(route.resource for route in api.routes)],
            strict_slashes=False,
            merge_slashes=False,
            redirect_defaults=False,
        ).bind("localhost")
        self._words = {word for route in api.routes for word in route.resource.split("/")}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        request = _request(environ)
        call: Call = environ.get(CALL) or Call()
        call.function = GATEWAY
        call.path = self.shown_path(request.path)
        response = self._answer(request, call)
        if request.method == "HEAD":
            response = response._replace(body=b"")
        headers = list(response.headers)
        if response.status not in {http.HTTPStatus.NO_CONTENT, http.HTTPStatus.NOT_MODIFIED}:
            headers.append(("Content-Length", str(len(response.body))))
        start_response(f"{response.status} {reason(response.status)}", headers)
        return [response.body]

    def shown_path(self, path: str) -> str:
        """Return a path as the request log may show it."""
        return shown_path(path, self._words)

    def refusal(self, response_type: str, message: str | None, *, path: str, request_id: str | None = None) -> Response:
        """Return one of the gateway's own responses."""
        # A URI reference that begins with two slashes would name a host.
        path = f"/.{path}" if path.startswith("//") else path
        context = {"path": path, "requestId": request_id or str(uuid.uuid4()), "stage": self._api.stage}
        return self._responses.render(response_type, message, context)

    def _answer(self, request: Request, call: Call) -> Response:
        try:
            return self._respond(request, call)
        except RefusedError as refused:
            return self.refusal(
                refused.response_type, refused.message, path=request.path, request_id=request.request_id
            )

    def _respond(self, request: Request, call: Call) -> Response:
        if _header_size(request) > _MAX_HEADERS:
            raise RefusedError("DEFAULT_4XX", "Request Header Fields Too Large")
        route, parameters = self._route(request)
        if self._throttle is not None and not self._throttle.take():
            raise RefusedError("THROTTLED", "Too Many Requests")
        authorizer: Mapping[str, str] | None = None
        if route.authorizer is not None:
            headers = {name.lower(): values[-1] for name, values in request.headers.items()}
            method_arn = (
                f"arn:{PARTITION}:execute-api:{REGION}:{ACCOUNT_ID}:{self._api.api_id}/{self._api.stage}"
                f"/{request.method}/{request.path.removeprefix('/')}"
            )
            authorizer = self._authorizers[route.authorizer].authorize(headers, method_arn, call)
        if len(request.body) > MAX_BODY:
            raise RefusedError("REQUEST_TOO_LARGE", "Request Too Long")
        event = proxy_event(request, self._api, route, parameters, authorizer)
        if len(event) > MAX_PAYLOAD:
            raise RefusedError("REQUEST_TOO_LARGE", "Request Too Long")
        try:
            result = self._pools[route.function].invoke(event, route.timeout, call.invoked(route.function))
            return self._compressed(proxy_response(result, request.request_id), request)
        except IntegrationTimeoutError as error:
            raise RefusedError("INTEGRATION_TIMEOUT", "Endpoint request timed out") from error
        except (InvocationError, MalformedResultError) as error:
            _LOG.warning("%s: %s: %s", request.request_id, type(error).__name__, error)
            raise RefusedError("INTEGRATION_FAILURE", "Internal server error") from error

    def _compressed(self, response: Response, request: Request) -> Response:
        """Compress a response if the client accepts that, as the gateway does.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-gzip-compression-decompression.html
        """
        least = self._api.minimum_compression_size
        encoded = any(name.lower() == "content-encoding" for name, _ in response.headers)
        if least is None or len(response.body) < least or encoded:
            return response
        accepted = parse_accept_header(request.header("accept-encoding"), Accept)
        for coding, compress in _CODINGS.items():
            if accepted.quality(coding):
                headers = [*response.headers, ("Content-Encoding", coding)]
                return Response(response.status, headers, compress(response.body))
        return response

    def _route(self, request: Request) -> tuple[Route, dict[str, str]]:
        unknown = RefusedError("MISSING_AUTHENTICATION_TOKEN", "Missing Authentication Token")
        if request.path.startswith("//"):
            # werkzeug would treat it as one slash.
            raise unknown
        try:
            resource, parameters = self._resources.match(request.path)
        except NotFound as error:
            raise unknown from error
        route = self._routes.get((resource, request.method)) or self._routes.get((resource, "ANY"))
        if route is None:
            raise unknown
        return route, {name: str(value) for name, value in parameters.items()}


def _rule(resource: str) -> Rule:
    parts: list[str] = []
    for part in resource.split("/"):
        if part.startswith("{") and part.endswith("}"):
            name = part[1:-1]
            greedy = name.endswith("+")
            parts.append(f"<{_PARAMETER_TYPES[greedy]}:{name.removesuffix('+')}>")
        else:
            parts.append(part)
    try:
        return Rule("/".join(parts), endpoint=resource)
    except ValueError as error:
        raise TemplateError(f"path {resource}: {error}") from error


def _request(environ: WSGIEnvironment) -> Request:
    raw: list[tuple[str, str]] = environ[RAW_HEADERS]
    headers: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for name, value in raw:
        headers.setdefault(names.setdefault(name.lower(), name), []).append(value)
    # The gateway sets these, whatever the client sent.
    for name in ("x-forwarded-for", "x-forwarded-port", "x-forwarded-proto", "x-amzn-trace-id"):
        headers.pop(names.get(name, name), None)
    headers["X-Amzn-Trace-Id"] = [f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}"]
    headers["X-Forwarded-For"] = [environ["REMOTE_ADDR"]]
    headers["X-Forwarded-Port"] = [environ["SERVER_PORT"]]
    headers["X-Forwarded-Proto"] = ["http"]
    body: bytes = environ["wsgi.input"].read()
    return Request(
        method=environ["REQUEST_METHOD"],
        path=encoded_path(environ["REQUEST_URI"]),
        query=environ["QUERY_STRING"],
        headers=headers,
        body=body,
        remote_address=environ["REMOTE_ADDR"],
        domain=f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}",
        protocol=environ["SERVER_PROTOCOL"],
        request_id=str(uuid.uuid4()),
    )


def _header_size(request: Request) -> int:
    return (
        len(request.path)
        + len(request.query)
        + sum(len(name) + len(value) for name, values in request.headers.items() for value in values)
    )


def reason(status: int) -> str:
    """Return the reason phrase of a status."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def header_list(lines: Iterable[bytes]) -> list[tuple[str, str]]:
    """Split header lines, already checked by the server, into names and values."""
    pairs = (line.partition(b":") for line in lines)
    return [(name.decode("latin-1"), value.strip(b" \t").decode("latin-1")) for name, _, value in pairs]
