"""Idempotency-Key, as a client sees it."""

from __future__ import annotations

import base64
import json
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.api.support import COLLECTION, assert_problem, customer_body, group_path, walk

if TYPE_CHECKING:
    import httpx

    from tests.api.conftest import Tables
    from tests.conftest import Service

LIST = {"size": "list"}


@pytest.fixture
def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4())}


def test_the_same_request_again_gives_the_first_answer_byte_for_byte(
    client: httpx.Client, group: int, key: dict[str, str]
) -> None:
    body = customer_body(group, first_name="Zoë")
    first = client.post(COLLECTION, json=body, headers=key)
    again = client.post(COLLECTION, json=body, headers=key)
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["X-Request-Id"] != first.headers["X-Request-Id"]
    for name in ("Location", "ETag", "Content-Type"):
        assert first.headers[name] == again.headers[name]
    assert len(walk(client, group)) == 1


def test_the_first_answer_is_given_again_even_when_the_customer_has_changed(
    client: httpx.Client, group: int, key: dict[str, str]
) -> None:
    first = client.post(COLLECTION, json=customer_body(group), headers=key)
    client.delete(first.headers["Location"]).raise_for_status()
    again = client.post(COLLECTION, json=customer_body(group), headers=key)
    assert (again.status_code, again.content) == (201, first.content)
    assert client.get(group_path(group)).status_code == 404, "the repetition does not bring it back"


def test_a_kept_answer_opens_with_the_request_alone(
    client: httpx.Client, tables: Tables, group: int, key: dict[str, str]
) -> None:
    mark = uuid4().hex
    before = {item["id"]["S"] for item in _kept(tables)}
    for _ in range(2):
        client.post(COLLECTION, json=customer_body(group, first_name=mark), headers=key).raise_for_status()
    new = [item for item in _kept(tables) if item["id"]["S"] not in before]
    (answer,) = [item for item in new if "data" in item]
    sealed = base64.b85decode(json.loads(answer["data"]["S"])["sealed"])
    # The mark is not there: neither as it is, nor unpacked from any byte, nor in another encoding.
    for start in range(len(sealed)):
        with suppress(zlib.error):
            assert mark.encode() not in zlib.decompressobj().decompress(sealed[start:])
    assert mark not in str(new)
    for item in new:
        assert 0 < 24 * 60 * 60 - (int(item["expiration"]["N"]) - time.time()) < 5 * 60


def test_an_answer_is_forgotten_when_its_time_is_over_even_before_the_table_deletes_it(
    client: httpx.Client, tables: Tables, group: int, key: dict[str, str]
) -> None:
    before = {item["id"]["S"] for item in _kept(tables)}
    first = client.post(COLLECTION, json=customer_body(group), headers=key)
    for item in _kept(tables):
        if item["id"]["S"] not in before:
            tables.client.update_item(
                TableName="AnswersTable",
                Key={"id": item["id"]},
                UpdateExpression="SET expiration = :past",
                ExpressionAttributeValues={":past": {"N": str(int(time.time()) - 1)}},
            )
    second = client.post(COLLECTION, json=customer_body(group), headers=key)
    assert second.status_code == 201
    assert "Idempotency-Replayed" not in second.headers
    assert second.json()["id"] != first.json()["id"]


def _kept(tables: Tables) -> list[dict[str, Any]]:
    pages = tables.client.get_paginator("scan").paginate(TableName="AnswersTable")
    return [item for page in pages for item in page["Items"]]


def test_a_refusal_is_given_again_too(client: httpx.Client, key: dict[str, str]) -> None:
    first = client.post(COLLECTION, json={"age": -1}, headers=key)
    again = client.post(COLLECTION, json={"age": -1}, headers=key)
    assert (first.status_code, first.content) == (400, again.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Content-Type"] == "application/problem+json"


def test_a_wrong_content_type_is_mended_with_the_same_key(
    client: httpx.Client, group: int, key: dict[str, str]
) -> None:
    body = json.dumps(customer_body(group)).encode()
    for content_type, status in (("text/plain", 415), ("application/json", 201), ("text/plain", 415)):
        answer = client.post(COLLECTION, content=body, headers={**key, "Content-Type": content_type})
        assert (answer.status_code, "Idempotency-Replayed" in answer.headers) == (status, False)


@pytest.mark.parametrize("on_error", ["abort", "keep"])
def test_a_hundred_customers_with_the_longest_fields_are_kept_and_given_again(
    client: httpx.Client, group: int, key: dict[str, str], on_error: str
) -> None:
    rows = [
        customer_body(group, first_name=chr(0x1F600 + number % 50) * 100, last_name=chr(0x20000 + number) * 100)
        for number in range(100)
    ]
    first = client.post(COLLECTION, params=LIST | {"on_error": on_error}, json={"customers": rows}, headers=key)
    again = client.post(COLLECTION, params=LIST | {"on_error": on_error}, json={"customers": rows}, headers=key)
    assert first.status_code == 201
    assert first.content == again.content
    assert len(walk(client, group)) == 100


@pytest.mark.parametrize(
    "other",
    [{"params": {}, "json": {}}, {"params": LIST}, {"params": {"on_error": "keep"}}],
    ids=["another body", "another size", "another parameter"],
)
def test_another_request_with_the_key_is_422(
    client: httpx.Client, group: int, key: dict[str, str], other: dict[str, object]
) -> None:
    body = customer_body(group)
    assert client.post(COLLECTION, json=body, headers=key).status_code == 201
    request = client.build_request("POST", COLLECTION, **{"json": body, **other}, headers=key)  # type: ignore[arg-type]
    assert_problem(client.send(request), 422, problem_type="/problems/key-reused")
    assert len(walk(client, group)) == 1


@pytest.mark.parametrize("wrong", ["", "a b", "x" * 256, "clé".encode()])
def test_a_key_that_is_none_is_an_error_of_its_header(client: httpx.Client, group: int, wrong: str | bytes) -> None:
    headers = {b"Idempotency-Key": wrong if isinstance(wrong, bytes) else wrong.encode()}
    response = client.post(COLLECTION, json=customer_body(group), headers=headers)
    errors = assert_problem(response, 400)["errors"]
    assert [(error["header"], error["code"]) for error in errors] == [("Idempotency-Key", "invalid_key")]
    assert client.get(group_path(group)).status_code == 404


def test_a_wrong_key_is_told_together_with_all_else_that_is_wrong(client: httpx.Client) -> None:
    response = client.post(COLLECTION, params={"x": "1"}, json={}, headers={"Idempotency-Key": "a b"})
    errors = assert_problem(response, 400)["errors"]
    assert {tuple(sorted(set(error) & {"pointer", "parameter", "header"})) for error in errors} == {
        ("header",),
        ("parameter",),
        ("pointer",),
    }


def test_a_dry_run_is_never_kept(client: httpx.Client, group: int, key: dict[str, str]) -> None:
    dry = client.post(COLLECTION, params={"dry_run": "true"}, json=customer_body(group), headers=key)
    assert dry.json() == {"valid": True, "count": 1}
    real = client.post(COLLECTION, json=customer_body(group), headers=key)
    assert real.status_code == 201
    assert "Idempotency-Replayed" not in real.headers


def test_each_token_has_its_own_keys(service: Service, tables: Tables, group: int, key: dict[str, str]) -> None:
    for _ in range(2):
        with tables.caller(tables.new_token()) as caller:
            response = caller.post(COLLECTION, json=customer_body(group), headers=key)
            assert response.status_code == 201
            assert "Idempotency-Replayed" not in response.headers
    with service.client() as client:
        assert len(walk(client, group)) == 2


def test_fifty_requests_at_once_with_one_key_create_once(client: httpx.Client, group: int, key: dict[str, str]) -> None:
    rows = {"customers": [customer_body(group, age=age) for age in range(100)]}

    def post(_: int) -> httpx.Response:
        return client.post(COLLECTION, params=LIST, json=rows, headers=key)

    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(post, range(50)))
    created = {answer.content for answer in answers if answer.status_code == 201}
    waiting = [answer for answer in answers if answer.status_code != 201]
    assert len(created) == 1
    for answer in waiting:
        assert_problem(answer, 409, problem_type="/problems/still-running")
        assert answer.headers["Retry-After"].isdecimal()
    assert len(walk(client, group, limit=1000)) == 100
