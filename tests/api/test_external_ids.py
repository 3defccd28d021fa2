"""Customers with a key of your own system, found by that key or by email address, over HTTP."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.support import (
    COLLECTION,
    Json,
    any_group,
    assert_problem,
    create,
    customer_body,
    group_path,
    ids,
    path_of,
    walk,
)
from tests.api.test_concurrency import at_once, statuses

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.api.conftest import Tables


@pytest.fixture
def key() -> str:
    return f"shop.{secrets.token_hex(8)}~A_-"


def keyed(key: str) -> str:
    return f"/api/customers/external/{key}"


def test_put_creates_replaces_and_repeats(client: httpx.Client, group: int, key: str) -> None:
    created = client.put(keyed(key), json=customer_body(group, age=3, metadata={"tier": "gold"}))
    assert created.status_code == 201
    customer = created.json()
    assert (customer["external_id"], customer["metadata"], customer["version"]) == (key, {"tier": "gold"}, 1)
    assert created.headers["ETag"] == '"1"'
    assert created.headers["Location"].endswith(path_of(customer))
    assert client.get(path_of(customer)).json() == client.get(keyed(key)).json() == customer
    replaced = client.put(f"{keyed(key)}/", json=customer_body(group, external_id=key))
    assert (replaced.status_code, replaced.headers["ETag"]) == (200, '"2"')
    assert (replaced.json()["age"], replaced.json()["metadata"]) == (None, {})
    assert "Location" not in replaced.headers
    for headers in ({}, {"If-Match": '"1"'}, {"If-Match": "*"}):
        again = client.put(keyed(key), json=customer_body(group), headers=headers)
        assert (again.status_code, again.headers["ETag"], again.json()) == (200, '"2"', replaced.json())
    assert client.get(keyed(key), headers={"If-None-Match": '"2"'}).status_code == 304


def test_put_takes_preconditions(client: httpx.Client, group: int, key: str) -> None:
    for headers in ({"If-Match": "*"}, {"If-Match": '"1"'}):
        answer = client.put(keyed(key), json=customer_body(group), headers=headers)
        assert_problem(answer, 412)
        assert "ETag" not in answer.headers
    only = {"If-None-Match": "*"}
    assert client.put(keyed(key), json=customer_body(group), headers=only).status_code == 201
    for headers in (only, {"If-Match": '"7"'}):
        answer = client.put(keyed(key), json=customer_body(group, age=1), headers=headers)
        assert_problem(answer, 412)
        assert answer.headers["ETag"] == '"1"'
    assert client.put(keyed(key), json=customer_body(group, age=1), headers={"If-Match": '"1"'}).status_code == 200
    assert_problem(client.put(keyed(key), json=customer_body(group), headers={**only, "If-Match": "*"}), 400)
    assert_problem(client.put(keyed(key), json=customer_body(group), headers={"If-None-Match": '"1"'}), 400)


@pytest.mark.parametrize("wrong", ["-a", ".a", "a" * 129, "a%20b", "a%2Fb", "%C3%A9", "a%00"])
def test_what_is_no_external_id_is_nobodys(wrong: str, client: httpx.Client, group: int) -> None:
    assert_problem(client.get(keyed(wrong)), 404)
    assert_problem(client.put(keyed(wrong), json=customer_body(group)), 404)
    # What is wrong with the request itself comes first.
    assert_problem(client.put(keyed(wrong), content=b"x", headers={"Content-Type": "text/plain"}), 415)
    assert_problem(client.put(keyed(wrong), json={"external_id": "x"}, params={"a": "b"}), 400)


@pytest.mark.parametrize("external_id", ["", "-a", "a b", "é", "a" * 129, 7, {}, "a\n"])
def test_what_is_no_external_id_is_refused_in_a_body(external_id: object, client: httpx.Client, group: int) -> None:
    answer = client.post(COLLECTION, json=customer_body(group, external_id=external_id))
    assert_problem(answer, 400)
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/external_id"]


def test_a_key_that_is_escaped_in_the_path_is_the_same_and_the_location_leads_to_its_customer(
    client: httpx.Client, group: int, key: str
) -> None:
    for path in (keyed(f"%{ord(key[0]):02X}{key[1:]}%7E1"), keyed(f"{key}%7e2/")):
        created = client.put(path, json=customer_body(group))
        assert created.status_code == 201
        assert client.get(created.headers["Location"]).json() == created.json()
    assert [client.get(keyed(f"{key}~{number}")).status_code for number in (1, 2)] == [200, 200]


def test_the_key_cannot_be_changed(client: httpx.Client, group: int, key: str) -> None:
    customer = client.put(keyed(key), json=customer_body(group)).json()
    for value in (key, "other", None):
        answer = client.patch(path_of(customer), json={"external_id": value})
        assert_problem(answer, 400)
        assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [("#/external_id", "read_only")]
    answer = client.put(keyed(key), json=customer_body(group, external_id="other"))
    assert_problem(answer, 400)


def test_a_deleted_key_is_free_and_its_old_tag_does_not_match(client: httpx.Client, group: int, key: str) -> None:
    first = client.put(keyed(key), json=customer_body(group)).json()
    assert client.delete(path_of(first)).status_code == 200
    assert_problem(client.get(keyed(key)), 404)
    assert_problem(client.put(keyed(key), json=customer_body(group), headers={"If-Match": '"1"'}), 412)
    second = client.put(keyed(key), json=customer_body(group))
    assert second.status_code == 201
    assert second.json()["id"] == first["id"]
    assert second.json()["version"] > first["version"]
    assert second.json()["created_at"] > first["created_at"]
    assert_problem(client.patch(path_of(first), json={"age": 1}, headers={"If-Match": '"1"'}), 412)
    assert client.delete(path_of(first)).status_code == 200
    third = client.post(COLLECTION, json=customer_body(group, external_id=key))
    assert (third.status_code, third.json()["id"]) == (201, first["id"])
    assert third.json()["version"] > second.json()["version"]


class TestPost:
    def test_a_taken_key_is_409_with_its_holder_also_when_repeated(
        self, client: httpx.Client, group: int, key: str
    ) -> None:
        holder = client.put(keyed(key), json=customer_body(group)).json()
        headers = {"Idempotency-Key": secrets.token_hex(8)}
        for _ in range(2):
            answer = client.post(COLLECTION, json=customer_body(group, external_id=key), headers=headers)
            assert answer.status_code == 409
            assert (answer.json()["type"], answer.json()["customer_id"]) == (
                "/problems/external-id-taken",
                holder["id"],
            )
        assert answer.headers["Idempotency-Replayed"] == "true"

    def test_a_list_with_taken_keys_writes_nothing_or_the_rest(
        self, client: httpx.Client, group: int, key: str
    ) -> None:
        holder = client.put(keyed(key), json=customer_body(any_group())).json()
        rows = [customer_body(group), customer_body(group, external_id=key), customer_body(group, email="x")]
        answer = client.post(COLLECTION, params={"size": "list"}, json={"customers": rows[:2]})
        assert answer.status_code == 409
        assert "customer_id" not in answer.json()
        assert [(e["pointer"], e["code"], e["customer_id"]) for e in answer.json()["errors"]] == [
            ("#/customers/1/external_id", "taken", holder["id"])
        ]
        assert_problem(client.get(group_path(group)), 404)
        answer = client.post(COLLECTION, params={"size": "list", "on_error": "keep"}, json={"customers": rows})
        assert answer.status_code == 207
        assert [result["status"] for result in answer.json()["results"]] == [201, 409, 400]
        assert answer.json()["results"][1]["errors"][0]["customer_id"] == holder["id"]
        assert len(walk(client, group)) == 1

    def test_the_same_key_twice_in_a_list_is_an_error_of_the_later_row(
        self, client: httpx.Client, group: int, key: str
    ) -> None:
        rows = [customer_body(group, external_id=key), customer_body(group, external_id=key)]
        answer = client.post(COLLECTION, params={"size": "list"}, json={"customers": rows})
        assert_problem(answer, 400)
        assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [
            ("#/customers/1/external_id", "duplicate")
        ]
        answer = client.post(COLLECTION, params={"size": "list", "on_error": "keep"}, json={"customers": rows})
        assert [result["status"] for result in answer.json()["results"]] == [201, 400]

    def test_a_rotated_token_keeps_its_keys(self, client: httpx.Client, group: int, tables: Tables) -> None:
        old = tables.new_token(["customers:write"])
        new = tables.new_token(["customers:write"], replaces=old)
        other = tables.new_token(["customers:write"])
        headers = {"Idempotency-Key": secrets.token_hex(8)}

        def post(token: str) -> httpx.Response:
            return client.post(
                COLLECTION, json=customer_body(group), headers={**headers, "Authorization": f"Bearer {token}"}
            )

        first, replayed, another = post(old), post(new), post(other)
        assert replayed.json() == first.json()
        assert replayed.headers["Idempotency-Replayed"] == "true"
        assert another.json()["id"] != first.json()["id"]


class TestFind:
    def test_by_address_ignoring_case_and_nothing_else(self, client: httpx.Client, group: int) -> None:
        name = secrets.token_hex(8)
        emails = [
            f"{name}ß@example.com",
            f"{name.upper()}ẞ@EXAMPLE.com",
            f"é{name}ß@example.com",
            f"{name}ss@example.com",
        ]
        created = [create(client, group, email=email) for email in emails]
        answer = client.get(COLLECTION, params={"email": f"{name.title()}ß@Example.COM"})
        assert answer.status_code == 200
        assert answer.json()["next_cursor"] is None
        assert sorted(ids(answer.json()["customers"])) == sorted(ids(created[:2]))
        assert client.get(COLLECTION, params={"email": f"{name}@example.org"}).json()["customers"] == []
        assert_problem(client.get(COLLECTION, params={"email": name}), 400)

    def test_by_address_page_by_page(self, client: httpx.Client, group: int) -> None:
        email = f"{secrets.token_hex(8)}@example.com"
        created = [create(client, group, email=email) for _ in range(5)]
        found: list[Json] = []
        parameters: dict[str, Any] = {"email": email, "limit": 2}
        while True:
            answer = client.get(COLLECTION, params=parameters)
            found += answer.json()["customers"]
            if (cursor := answer.json()["next_cursor"]) is None:
                break
            assert 'rel="next"' in answer.headers["Link"]
            parameters["cursor"] = cursor
        assert sorted(ids(found)) == sorted(ids(created))
        assert len(found) == 5
        assert_problem(client.get(COLLECTION, params={"cursor": parameters["cursor"]}), 400)

    def test_by_external_id(self, client: httpx.Client, group: int, key: str) -> None:
        customer = client.put(keyed(key), json=customer_body(group)).json()
        assert client.get(COLLECTION, params={"external_id": key}).json() == {
            "customers": [customer], "next_cursor": None,
        }  # fmt: skip
        assert client.get(COLLECTION, params={"external_id": f"{key}x"}).json()["customers"] == []
        assert_problem(client.get(COLLECTION, params={"external_id": "-"}), 400)
        assert_problem(client.get(COLLECTION, params={"external_id": key, "email": "a@example.com"}), 400)

    def test_everybody_needs_the_scope(self, client: httpx.Client, group: int, tables: Tables) -> None:
        created = create(client, group)
        tokens = {scopes: tables.new_token(list(scopes)) for scopes in (
            ("customers:read",), ("customers:export",), ("customers:export", "customers:read"),
        )}  # fmt: skip
        answers = {
            scopes: client.get(COLLECTION, headers={"Authorization": f"Bearer {token}"})
            for scopes, token in tokens.items()
        }
        assert [answer.status_code for answer in answers.values()] == [403, 403, 200]
        for wrong in ({"limit": 0}, {"cursor": "x"}, {"unknown": 1}):
            token = tokens["customers:read",]
            answer = client.get(COLLECTION, params=wrong, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 403, "whoever may not know, is told nothing else"
        assert_problem(answers["customers:read",], 403)
        found: list[int] = []
        parameters: dict[str, Any] = {"limit": 1000}
        while True:
            page = client.get(COLLECTION, params=parameters).json()
            found += ids(page["customers"])
            if page["next_cursor"] is None:
                break
            parameters["cursor"] = page["next_cursor"]
        assert found.count(created["id"]) == 1
        assert 0 not in found
        assert len(found) == len(set(found))


class TestPrefix:
    @pytest.fixture
    def people(self, client: httpx.Client, group: int) -> list[Json]:
        names = ["Élodie", "elodie", "Eloise", "El", "Adele"]
        return [create(client, group, first_name=name, last_name=f"{name}son") for name in names]

    @pytest.mark.parametrize(
        ("prefix", "wanted"), [("EL", {0, 1, 2, 3}), ("élod", {0, 1}), ("adele", {4}), ("q", set())]
    )
    def test_it_ignores_case_and_accents(
        self, prefix: str, wanted: set[int], client: httpx.Client, group: int, people: list[Json]
    ) -> None:
        for order in ("asc", "desc"):
            query = {"sort": "first_name", "order": order, "prefix": prefix}
            found = walk(client, group, **query, limit=2)
            assert sorted(ids(found)) == sorted(people[index]["id"] for index in wanted)

    @pytest.mark.parametrize(
        "query",
        [
            {"prefix": "el"},
            {"prefix": "el", "sort": "age"},
            {"prefix": "el", "sort": "created_at"},
            {"prefix": "", "sort": "email"},
            {"prefix": "\u0301", "sort": "email"},
            {"prefix": "a\x1f", "sort": "email"},
        ],
    )
    def test_what_is_no_prefix_is_refused(self, query: dict[str, str], client: httpx.Client, group: int) -> None:
        answer = client.get(group_path(group), params=query)
        assert_problem(answer, 400)
        assert [error["parameter"] for error in answer.json()["errors"]] == ["prefix"]

    def test_a_cursor_belongs_to_its_prefix(self, client: httpx.Client, group: int, people: list[Json]) -> None:
        assert len(people) == 5
        query = {"sort": "first_name", "prefix": "el", "limit": "1"}
        cursor = client.get(group_path(group), params=query).json()["next_cursor"]
        assert client.get(group_path(group), params={**query, "cursor": cursor}).status_code == 200
        for other in ({**query, "prefix": "e"}, {"sort": "first_name", "limit": "1"}):
            assert_problem(client.get(group_path(group), params={**other, "cursor": cursor}), 400)


class TestMetadata:
    def test_a_patch_merges_entries(self, client: httpx.Client, group: int) -> None:
        customer = create(client, group, metadata={"a": "1", "b": " 2 "})
        assert customer["metadata"] == {"a": "1", "b": " 2 "}
        changed = client.patch(path_of(customer), json={"metadata": {"a": None, "c": "", "zz": None}})
        assert (changed.status_code, changed.json()["metadata"]) == (200, {"b": " 2 ", "c": ""})
        assert changed.json()["version"] == 2
        assert client.patch(path_of(customer), json={"metadata": {}}).json()["version"] == 3

    @pytest.mark.parametrize(
        ("metadata", "code"),
        [
            (None, "null"),
            ([], "wrong_type"),
            ({"a b": "x"}, "invalid_metadata_key"),
            ({"": "x"}, "invalid_metadata_key"),
            ({"k" * 41: "x"}, "invalid_metadata_key"),
            ({"k": 1}, "wrong_type"),
            ({"k": "x" * 501}, "too_long"),
            ({"k": "\n"}, "control_character"),
            ({"k": {}}, "wrong_type"),
        ],
    )
    def test_what_is_no_entry_is_refused_by_post_and_patch(
        self, metadata: object, code: str, client: httpx.Client, group: int
    ) -> None:
        customer = create(client, group)
        for answer in (
            client.post(COLLECTION, json=customer_body(group, metadata=metadata)),
            client.patch(path_of(customer), json={"metadata": metadata}),
        ):
            assert_problem(answer, 400)
            assert [error["code"] for error in answer.json()["errors"]] == [code]

    def test_the_limits_come_last(self, client: httpx.Client, group: int) -> None:
        customer = create(client, group, metadata={f"k{n}": "v" for n in range(20)})
        more = {"metadata": {"one": "more"}}
        assert_problem(client.patch(path_of(customer), json=more, headers={"If-Match": '"9"'}), 412)
        assert_problem(client.patch("/api/customers/1", json=more), 404)
        answer = client.patch(path_of(customer), json=more)
        assert_problem(answer, 400)
        assert answer.json()["errors"][0]["code"] == "too_many_entries"
        swapped = {"metadata": {f"k{n}": None for n in range(20)} | {f"n{n}": "v" for n in range(20)}}
        assert len(client.patch(path_of(customer), json=swapped).json()["metadata"]) == 20
        assert_problem(client.patch(path_of(customer), json={"metadata": {str(n): None for n in range(41)}}), 400)
        assert_problem(
            client.post(COLLECTION, json=customer_body(group, metadata={str(n): "x" for n in range(21)})), 400
        )
        big = {"a": "é" * 500, "b": "é" * 500, "c": "x" * 45}
        assert client.post(COLLECTION, json=customer_body(group, metadata=big)).status_code == 201
        assert_problem(client.post(COLLECTION, json=customer_body(group, metadata={**big, "c": "x" * 46})), 400)


def test_puts_at_the_same_time_leave_one_customer_with_one_version_per_change(
    client: httpx.Client, group: int, key: str
) -> None:
    def put(number: int) -> Callable[[], httpx.Response]:
        return lambda: client.put(keyed(key), json=customer_body(group, age=number % 8))

    answers = at_once([put(number) for number in range(32)])
    assert statuses(answers).keys() <= {200, 201}
    assert statuses(answers)[201] == 1
    assert len({answer.json()["id"] for answer in answers}) == 1
    # Each version had only one content, and the versions have no gaps.
    contents: dict[int, set[int]] = {}
    for answer in answers:
        contents.setdefault(answer.json()["version"], set()).add(answer.json()["age"])
    assert sorted(contents) == list(range(1, len(contents) + 1))
    assert all(len(ages) == 1 for ages in contents.values())
    assert [customer["version"] for customer in walk(client, group)] == [len(contents)]
