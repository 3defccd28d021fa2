"""The token authorizer: returns the routes that a token may call.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Any, Final

import customers.aws.cold_start
from customers.aws import dynamodb
from customers.store.tokens import TokenStore
from customers.tokens import token_hash, token_id, token_in

store = TokenStore(dynamodb.client(), os.environ["TOKENS_TABLE"])

ROUTES: Final = {
    "customers:read": (
        "GET/api/customers",
        "GET/api/customers/*",
        "HEAD/api/customers",
        "HEAD/api/customers/*",
    ),
    "customers:write": (
        "POST/api/customers",
        "POST/api/customers/",
        "PATCH/api/customers/*",
        "PUT/api/customers/external/*",
    ),
    "customers:delete": ("DELETE/api/customers/*",),
}
"""By scope. `customers:export` adds no route, but what a request on one of them may ask for: its function checks it."""


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Return the policy for all routes that the token may call: the gateway caches it by token, not by route."""
    token = token_in(event["authorizationToken"])
    if token is None:
        raise _unauthorized()
    hashed = token_hash(token)
    record = store.get(hashed)
    if record is None or not record.valid_at(time.time()):
        raise _unauthorized()
    today = datetime.now(UTC).date().isoformat()
    if record.last_used_on != today:
        store.mark_used(hashed, today)
    api, stage = event["methodArn"].split("/")[:2]
    allowed = [f"{api}/{stage}/{route}" for scope in record.scopes for route in ROUTES.get(scope, ())]
    statement = {
        "Action": "execute-api:Invoke",
        # A policy must name something, so a token without scopes is denied everything.
        "Effect": "Allow" if allowed else "Deny",
        "Resource": allowed or [f"{api}/{stage}/*"],
    }
    return {
        "principalId": token_id(hashed),
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": {
            "token_id": token_id(hashed),
            "first_token_id": record.first_token_id,
            "scopes": " ".join(record.scopes),
        },
    }


def _unauthorized() -> Exception:
    # The gateway turns exactly this text, and no other, into a 401.
    return Exception("Unauthorized")


customers.aws.cold_start.over()
