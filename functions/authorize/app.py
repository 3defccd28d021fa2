"""The token authorizer: from a token to the routes it may call.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from customers import dynamodb
from customers.errors import StoreUnavailableError
from customers.token_store import TokenStore
from customers.tokens import token_hash, token_id, token_in

if TYPE_CHECKING:
    from customers.token_store import TokenRecord

store = TokenStore(dynamodb.client(), os.environ["TOKENS_TABLE"])

_ROUTES: Final = {
    "customers:read": ("GET/api/customers/*",),
    "customers:write": ("POST/api/customers", "POST/api/customers/", "PATCH/api/customers/*"),
    "customers:delete": ("DELETE/api/customers/*",),
}


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Give the policy for all routes that the token may call: the gateway keeps it for the token, not for the route."""
    token = token_in(event["authorizationToken"])
    if token is None:
        raise _unauthorized()
    hashed = token_hash(token)
    record = store.get(hashed)
    if record is None or not record.valid_at(time.time()):
        raise _unauthorized()
    _mark_used(record)
    api, stage = event["methodArn"].split("/")[:2]
    allowed = [f"{api}/{stage}/{route}" for scope in record.scopes for route in _ROUTES.get(scope, ())]
    statement = {
        "Action": "execute-api:Invoke",
        # A policy must name something: a token without a scope is denied everything.
        "Effect": "Allow" if allowed else "Deny",
        "Resource": allowed or [f"{api}/{stage}/*"],
    }
    return {
        "principalId": token_id(hashed),
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": {"token_id": token_id(hashed), "scopes": " ".join(record.scopes)},
    }


def _mark_used(record: TokenRecord) -> None:
    today = datetime.now(UTC).date().isoformat()
    if record.last_used_on != today:
        # Once a day, and no reason to refuse a call.
        with suppress(StoreUnavailableError, ClientError):
            store.mark_used(record.token_hash, today)


def _unauthorized() -> Exception:
    # The gateway turns exactly this text, and no other, into 401.
    return Exception("Unauthorized")
