"""Endpoints as Lambda functions: from API Gateway's event to its response."""

from __future__ import annotations

import functools
import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from customers.errors import CustomersError, NotFoundError
from customers.http.problems import problem, unforeseen
from customers.http.request import JSON, Request
from customers.logs import count, logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from customers.http.request import Response

_ORIGINS: Final = frozenset(filter(None, map(str.strip, os.environ.get("CORS_ORIGINS", "").split(","))))
"""Origins whose web pages may call."""
_ALWAYS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""No cache keeps customers, and no browser takes a response for a page."""


def endpoint(handle: Callable[[Request], Response]) -> Callable[[dict[str, Any], object], dict[str, Any]]:
    """Turn an endpoint, a function from Request to Response, into a Lambda handler that responds to every event."""

    @functools.wraps(handle)
    def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
        started = time.perf_counter()
        request = Request(event, context)
        try:
            response = handle(request)
        except CustomersError as error:
            response = problem(error, request)
        except Exception as error:  # noqa: BLE001 (the last resort: any error is logged, and a 500)
            response = unforeseen(error, request)
        milliseconds = round((time.perf_counter() - started) * 1000, 2)
        _log(request, response, f"{event.get('httpMethod')} {event.get('resource')}", milliseconds)
        return _proxy_result(response, request)

    return lambda_handler


def _log(request: Request, response: Response, route: str, milliseconds: float) -> None:
    _log_cold_start()
    # No metrics: Lambda has each function's own, for nothing (docs/decisions).
    logger.info(
        "request",
        status=response.status,
        **_customer_in(request, response),
        request_id=request.request_id,
        token_id=request.authorizer.get("token_id"),
        route=route,
        Latency=milliseconds,
    )


def _customer_in(request: Request, response: Response) -> dict[str, Any]:
    """Return the id of the only customer that a request is about, which shows what a leaked token has read."""
    with suppress(NotFoundError):
        return {"customer_id": request.id_in_path("customer_id")}
    shown = response.body.get("id") if isinstance(response.body, dict) else None
    return {"customer_id": shown} if isinstance(shown, int) else {}


@functools.cache
def _log_cold_start() -> None:
    # Cached, so it runs once per process.
    logger.info("cold start", **count({"ColdStarts": 1}))


def _proxy_result(response: Response, request: Request) -> dict[str, Any]:
    headers = {"X-Request-Id": request.request_id, **_ALWAYS, **_cross_origin(request), **response.headers}
    if response.body is None:
        return {"statusCode": response.status, "headers": headers, "body": ""}
    headers.setdefault("Content-Type", JSON)
    if request.is_head:
        return {"statusCode": response.status, "headers": headers, "body": ""}
    body = json.dumps(response.body, ensure_ascii=False, separators=(",", ":"))
    return {"statusCode": response.status, "headers": headers, "body": body}


def _cross_origin(request: Request) -> dict[str, str]:
    """Return the headers that let a page of another origin see the response (the Fetch standard)."""
    if not _ORIGINS:
        return {}
    origin = request.header("Origin")
    # The response depends on the origin, also on a refused one.
    vary = {"Vary": "Origin"}
    if origin not in _ORIGINS:
        return vary
    exposed = "Accept-Encoding, ETag, Idempotency-Replayed, Link, Location, Retry-After, X-Request-Id"
    return {**vary, "Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": exposed}
