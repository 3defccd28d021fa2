"""OPTIONS on every path: what a page of another origin may send. Deployed only with the parameter CorsOrigins."""

from __future__ import annotations

import customers.aws.cold_start
from customers.http.endpoint import endpoint
from customers.http.request import Request, Response


@endpoint
def lambda_handler(_request: Request) -> Response:
    """Return what is allowed. As in every response, `endpoint` says whether the origin is."""
    return Response(
        204,
        headers={
            "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
            # The second line is what tracing adds to every call of a page: W3C Trace Context and Baggage, and Sentry.
            "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, "
            "traceparent, tracestate, baggage, sentry-trace, X-Request-Id",
            # The maximum that browsers accept: two hours.
            "Access-Control-Max-Age": "7200",
        },
    )


customers.aws.cold_start.over()
