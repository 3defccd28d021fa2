"""Tokens with fewer scopes, and a look into the tables of a running service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest

from customers.store.tokens import TokenStore
from customers.tokens import SCOPES, new_token, token_hash, token_id
from tests.api.support import any_group
from tests.conftest import dynamodb_client
from tests.published import published

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from local.template.stack import Stack
    from tests.conftest import Service


class Tables(NamedTuple):
    """The tables of a running service."""

    client: DynamoDBClient
    customers: str
    tokens: str
    url: str

    def new_token(
        self, scopes: Sequence[str] = SCOPES, *, expires_at: int | None = None, replaces: str | None = None
    ) -> str:
        """Make a token."""
        token = new_token()
        first = None if replaces is None else token_id(token_hash(replaces))
        TokenStore(self.client, self.tokens).put(token_hash(token), scopes, "a test", expires_at, first)
        return token

    def revoke(self, token: str, second: int) -> None:
        """End a token."""
        self.client.update_item(
            TableName=self.tokens,
            Key={"token_hash": {"S": token_hash(token)}},
            UpdateExpression="SET revoked_at = :second",
            ExpressionAttributeValues={":second": {"N": str(second)}},
        )

    def caller(self, token: str | None) -> httpx.Client:
        """Make a client that sends this token, or none. It checks answers against the contract, like the other one."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        hooks = {"response": [published().check_response]}
        return httpx.Client(base_url=self.url, headers=headers, timeout=40, event_hooks=hooks)


@pytest.fixture(scope="session")
def tables_of(stack: Stack) -> Callable[[Service], Tables]:
    def look_into(service: Service) -> Tables:
        endpoints = json.loads((service.data / "endpoints.json").read_text())
        return Tables(
            dynamodb_client(endpoints["dynamodb"]),
            stack.functions["GetCustomer"].environment["CUSTOMERS_TABLE"],
            stack.functions["Authorize"].environment["TOKENS_TABLE"],
            service.url,
        )

    return look_into


@pytest.fixture(scope="session")
def tables(service: Service, tables_of: Callable[[Service], Tables]) -> Tables:
    return tables_of(service)


@pytest.fixture
def group() -> int:
    """Return a group that no other test uses."""
    return any_group()
