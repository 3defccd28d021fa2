"""Tokens in their table: a revocation stays, and a failure beside the look-up refuses nobody."""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from customers.store.tokens import TokenRecord, TokenStore
from customers.tokens import SCOPES, new_token, token_hash, token_id
from tests.integration.test_store import Hook, lost_request, refused_connection
from tests.sending import error_answer, sent_through, target_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.conftest import Handler

SOON = 1_000


@pytest.fixture
def store(dynamodb: DynamoDBClient) -> TokenStore:
    return TokenStore(dynamodb, "TokensTable")


@pytest.fixture
def hashed(store: TokenStore) -> str:
    """Return the hash of a token that is valid for a long time."""
    hashed = token_hash(new_token())
    store.put(hashed, SCOPES, "a test", int(time.time()) + 1_000 * SOON)
    return hashed


def ends_of(store: TokenStore, hashed: str) -> int | None:
    record = store.get(hashed)
    assert record is not None
    return record.revoked_at


def test_a_revocation_is_not_put_off_by_a_later_end(store: TokenStore, hashed: str) -> None:
    now = int(time.time())
    store.end(hashed, now)
    store.end(hashed, now + SOON)
    record = store.get(hashed)
    assert record is not None
    assert record.revoked_at == now
    assert not record.valid_at(now)
    assert not record.valid_at(now + SOON - 1)


def test_an_end_that_lies_ahead_is_brought_forward_by_a_revocation(store: TokenStore, hashed: str) -> None:
    now = int(time.time())
    store.end(hashed, now + SOON)
    store.end(hashed, now)
    assert ends_of(store, hashed) == now


def test_nothing_brings_a_token_into_being_but_its_creation(store: TokenStore) -> None:
    hashed = token_hash(new_token())
    store.end(hashed, int(time.time()))
    store.mark_used(hashed, "2026-11-25")
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        store.take_away(hashed, SCOPES[:1])
    assert store.get(hashed) is None


def test_a_token_is_read_as_it_was_made(store: TokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("customers.store.tokens.time.time", lambda: 1_000.9)
    bare, whole = token_hash(new_token()), token_hash(new_token())
    store.put(bare, (), "", None)
    store.put(whole, ("customers:write", "customers:read"), "a shop", 9_000, "the-first-one")
    store.end(whole, 8_000)
    store.mark_used(whole, "2026-11-26")
    # It has its own id, because it does not replace another token.
    of_bare = TokenRecord(bare, (), "", 1_000, None, None, None, token_id(bare))
    scopes = ("customers:read", "customers:write")
    of_whole = TokenRecord(whole, scopes, "a shop", 1_000, 9_000, 8_000, "2026-11-26", "the-first-one")
    assert (store.get(bare), store.get(whole)) == (of_bare, of_whole)
    assert {record.token_hash: record for record in store.all()}.items() >= {bare: of_bare, whole: of_whole}.items()


def test_tokens_are_listed_from_the_oldest_on(store: TokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {token_hash(new_token()): 2_000 + (7 * number) % 20 for number in range(20)}
    for hashed, second in made.items():
        monkeypatch.setattr("customers.store.tokens.time.time", lambda second=second: second)
        store.put(hashed, SCOPES, "a test", None)
    listed = [record.created_at for record in store.all()]
    assert listed == sorted(listed)
    assert {record.token_hash: record.created_at for record in store.all()}.items() >= made.items()


FAILURES: dict[str, Hook] = {
    "throttled": error_answer("ThrottlingException"),
    "server error": error_answer("InternalServerError", 500),
    "no permission": error_answer("AccessDeniedException"),
    "no response": lost_request(ReadTimeoutError),
    "connection closed": lost_request(ConnectionClosedError),
    "no connection": refused_connection,
}


@pytest.fixture
def authorize(function: Callable[[str], Handler], monkeypatch: pytest.MonkeyPatch) -> Handler:
    """Return the authorizer, without pauses between its tries."""
    monkeypatch.setattr("customers.aws.dynamodb.time.sleep", lambda _: None)
    return function("Authorize")


@pytest.mark.parametrize("failure", FAILURES)
def test_a_token_whose_use_cannot_be_noted_is_valid_all_the_same(
    failure: str, store: TokenStore, authorize: Handler
) -> None:
    token = new_token()
    store.put(token_hash(token), SCOPES, "a test", None)
    event: dict[str, Any] = {
        "type": "TOKEN",
        "authorizationToken": token,
        "methodArn": "arn:aws:execute-api:us-east-1:123456789012:a/prod/GET/api/customers/1",
    }
    tried: list[str] = []

    def fail(request: AWSPreparedRequest) -> AWSResponse | None:
        if not target_of(request).endswith(".UpdateItem"):
            return None
        tried.append(target_of(request))
        return FAILURES[failure](request)

    with sent_through(inspect.unwrap(authorize).__globals__["store"]._client, fail):  # noqa: SLF001
        answer = authorize(event, None)
    assert tried
    assert answer["principalId"] == token_id(token_hash(token))
    assert answer["policyDocument"]["Statement"][0]["Effect"] == "Allow"
    # The next call notes it.
    authorize(event, None)
    record = store.get(token_hash(token))
    assert record is not None
    assert record.last_used_on is not None
