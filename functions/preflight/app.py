"""OPTIONS of every path: what a browser may send from another origin. Deployed only with the parameter CorsOrigins."""

from __future__ import annotations

import customers.aws.cold_start
from customers.http.endpoint import endpoint
from customers.http.request import Request, Response


@endpoint
def lambda_handler(_request: Request) -> Response:
    """Answer with what is allowed; whether the origin is, `endpoint` tells, as with every other answer."""
    return Response(
        204,
        headers={
            "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE",
            "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match",
            # Two hours are the most that a browser takes.
            "Access-Control-Max-Age": "7200",
        },
    )


customers.aws.cold_start.over()
