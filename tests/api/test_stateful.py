"""The service agrees with a dict, whatever is done to it and in whatever order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from customers.trimming import trimmed
from tests.api.support import (
    COLLECTION,
    ORDERS,
    SORTS,
    Json,
    any_group,
    assert_problem,
    group_path,
    in_order,
    walk,
)

if TYPE_CHECKING:
    import httpx

# Only a few values, so that some are equal, and any kind of letter now and then.
LETTERS = st.one_of(
    st.sampled_from(["Ann", "ann", "Anna", "Ánn", "Ann B", "ß", "ss"]),
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8).filter(
        lambda text: trimmed(text) == text
    ),
)
EMAILS = st.sampled_from(["a@example.com", "A@example.com", "ab@example.com", "é@example.com"])
AGES = st.none() | st.integers(0, 150)
GROUPS = st.integers(0, 1)
ROWS = st.fixed_dictionaries(
    {"first_name": LETTERS, "last_name": LETTERS, "email": EMAILS, "group_id": GROUPS},
    optional={"age": AGES, "metadata": st.dictionaries(st.sampled_from("ab"), LETTERS)},
)
ENTRIES = st.dictionaries(st.sampled_from("abc"), st.none() | LETTERS)
KEYS = st.integers(0, 2)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "first_name": LETTERS,
        "last_name": LETTERS,
        "email": EMAILS,
        "group_id": GROUPS,
        "age": AGES,
        "metadata": ENTRIES,
    },
).filter(bool)


NOTHING: Json = {"external_id": None, "age": None, "metadata": {}}
"""What a customer has in fields that were left out when it was created."""


class Customers(RuleBasedStateMachine):
    """Does what clients do, and keeps the expected result in a dict."""

    client: httpx.Client
    known = Bundle("known")

    @initialize(target=known, rows=st.lists(ROWS, min_size=4, max_size=8))
    def start(self, rows: list[Json]) -> Any:
        self.groups = [any_group(), any_group()]
        self.expected: dict[int, Json] = {}
        self.keys = [f"key-{any_group()}" for _ in range(3)]
        self.last: dict[str, Json] = {}
        """The last state of a key's customer, deleted or not."""
        return self.create_some(rows)

    def _with_group(self, fields: Json) -> Json:
        return {**fields, "group_id": self.groups[fields["group_id"]]} if "group_id" in fields else fields

    def _keep(self, row: Json, created: Json) -> int:
        new: int = created["id"]
        assert new not in self.expected
        given = {name: created[name] for name in ("id", "created_at", "updated_at")}
        assert created == {**NOTHING, **self._with_group(row), **given, "version": 1}
        self.expected[new] = created
        return new

    @rule(target=known, row=ROWS)
    def create_one(self, row: Json) -> int:
        response = self.client.post(COLLECTION, json=self._with_group(row))
        assert response.status_code == 201
        return self._keep(row, response.json())

    @rule(target=known, rows=st.lists(ROWS, min_size=1, max_size=5))
    def create_list(self, rows: list[Json]) -> Any:
        return self.create_some(rows)

    def create_some(self, rows: list[Json]) -> Any:
        body = {"customers": [self._with_group(row) for row in rows]}
        response = self.client.post(COLLECTION, params={"size": "list"}, json=body)
        assert response.status_code == 201
        return multiple(*map(self._keep, rows, response.json()["customers"]))

    @rule(target=known, rows=st.lists(ROWS, min_size=1, max_size=4), bad=st.sets(st.integers(0, 3)))
    def create_list_and_keep(self, rows: list[Json], bad: set[int]) -> Any:
        sent = [self._with_group(row) | ({"age": 151} if index in bad else {}) for index, row in enumerate(rows)]
        parameters = {"size": "list", "on_error": "keep"}
        response = self.client.post(COLLECTION, params=parameters, json={"customers": sent})
        good = [row for index, row in enumerate(rows) if index not in bad]
        if len(good) == len(rows):
            assert response.status_code == 201
            return multiple(*map(self._keep, rows, response.json()["customers"]))
        assert response.status_code == 207
        results = response.json()["results"]
        assert [result["status"] for result in results] == [400 if i in bad else 201 for i in range(len(rows))]
        return multiple(*map(self._keep, good, (one["customer"] for one in results if one["status"] == 201)))

    @rule(rows=st.lists(ROWS, min_size=1, max_size=3), dry_run=st.booleans())
    def create_nothing(self, rows: list[Json], *, dry_run: bool) -> None:
        sent = [self._with_group(row) for row in rows]
        parameters = {"size": "list", "dry_run": "true" if dry_run else "false"}
        if not dry_run:
            sent[-1]["email"] = "nobody"
        response = self.client.post(COLLECTION, params=parameters, json={"customers": sent})
        assert response.status_code == (200 if dry_run else 400)

    # Two rules of the same kind: indexes go wrong at changes, and every rule is equally likely to be drawn.
    @rule(customer_id=known, changes=CHANGES)
    def patch(self, customer_id: int, changes: Json) -> None:
        self._patch(customer_id, changes, None)

    @rule(customer_id=known, changes=CHANGES, match=st.sampled_from(["*", "current", "other"]))
    def patch_at_a_version(self, customer_id: int, changes: Json, match: str) -> None:
        self._patch(customer_id, changes, match)

    def _patch(self, customer_id: int, changes: Json, match: str | None) -> None:
        before = self.expected.get(customer_id)
        version = before["version"] if before else 1
        tags = {"current": f'"{version}"', "other": f'"{version + 1}"', "*": "*"}
        headers = {} if match is None else {"If-Match": tags[match]}
        sent = self._with_group(changes)
        response = self.client.patch(f"/api/customers/{customer_id}", json=sent, headers=headers)
        if before is None:
            assert_problem(response, 404)
        elif match == "other":
            assert_problem(response, 412)
            assert response.headers["ETag"] == f'"{version}"'
        else:
            assert response.status_code == 200
            after = response.json()
            entries = {**before["metadata"], **sent.get("metadata", {})}
            sent = {**sent, "metadata": {name: value for name, value in entries.items() if value is not None}}
            assert after == {**before, **sent, "version": version + 1, "updated_at": after["updated_at"]}
            assert after["updated_at"] >= before["created_at"]
            self._remember(after)
            for sort in sorted(changes.keys() & set(SORTS)):
                self._compare(after["group_id"], sort, "asc", 1000)

    def _remember(self, customer: Json) -> None:
        self.expected[customer["id"]] = customer
        if customer["external_id"] is not None:
            self.last[customer["external_id"]] = customer

    @rule(target=known, key=KEYS, row=ROWS, again=st.booleans())
    def put(self, key: int, row: Json, *, again: bool) -> Any:
        path, external_id = f"/api/customers/external/{self.keys[key]}", self.keys[key]
        last = self.last.get(external_id)
        before = self.expected.get(last["id"]) if last else None
        same = {name: before[name] for name in (*row, "age", "metadata")} if again and before else None
        row = same or self._with_group(row)
        response = self.client.put(path, json=row)
        after = response.json()
        fields = {**NOTHING, **row, "external_id": external_id}
        assert {name: after[name] for name in fields} == fields
        assert response.status_code == (200 if before else 201)
        if before:
            changed = any(before[name] != fields[name] for name in fields)
            assert (after["id"], after["version"]) == (before["id"], before["version"] + changed)
            assert after["created_at"] == before["created_at"]
            assert changed or after == before
        elif last:
            # The deletion counted as a version too.
            assert (after["id"], after["version"]) == (last["id"], last["version"] + 2)
            assert after["created_at"] == after["updated_at"] >= last["updated_at"]
        else:
            assert after["version"] == 1
        assert self.client.get(path).json() == after
        self._remember(after)
        return multiple() if before else after["id"]

    @rule(key=KEYS, row=ROWS)
    def post_with_a_key_that_is_taken(self, key: int, row: Json) -> None:
        last = self.last.get(self.keys[key])
        if last and last["id"] in self.expected:
            body = {**self._with_group(row), "external_id": self.keys[key]}
            response = self.client.post(COLLECTION, json=body)
            assert (response.status_code, response.json()["customer_id"]) == (409, last["id"])

    @rule(email=EMAILS)
    def find(self, email: str) -> None:
        found, parameters = [], {"email": email, "limit": "1000"}
        while True:
            page = self.client.get(COLLECTION, params=parameters).json()
            found += [customer for customer in page["customers"] if customer["group_id"] in self.groups]
            if page["next_cursor"] is None:
                break
            parameters["cursor"] = page["next_cursor"]
        wanted = [one for one in self.expected.values() if one["email"].lower() == email.lower()]
        assert found == sorted(wanted, key=lambda customer: customer["id"])

    @rule(customer_id=consumes(known))
    def delete(self, customer_id: int) -> None:
        path = f"/api/customers/{customer_id}"
        if self.expected.pop(customer_id, None) is None:
            assert_problem(self.client.delete(path), 404)
        else:
            assert self.client.delete(path).json() == {"id": customer_id, "deleted": True}
        assert_problem(self.client.delete(path), 404)

    @rule(customer_id=known)
    def get(self, customer_id: int) -> None:
        response = self.client.get(f"/api/customers/{customer_id}")
        assert (response.status_code, response.json()) == (200, self.expected[customer_id])
        assert response.headers["ETag"] == f'"{self.expected[customer_id]["version"]}"'

    @rule(group=GROUPS, sort=st.sampled_from(SORTS), order=st.sampled_from(ORDERS), limit=st.integers(1, 5))
    def walk(self, group: int, sort: str, order: str, limit: int) -> None:
        self._compare(self.groups[group], sort, order, limit)

    @invariant()
    def the_groups_hold_what_they_should(self) -> None:
        for group in self.groups:
            self._compare(group, "last_name", "desc", 1000)

    def teardown(self) -> None:
        for group in self.groups:
            for sort in SORTS:
                self._compare(group, sort, "asc", 1000)

    def _compare(self, group: int, sort: str, order: str, limit: int) -> None:
        members = [customer for customer in self.expected.values() if customer["group_id"] == group]
        if members:
            found = walk(self.client, group, sort=sort, order=order, limit=limit, age="true")
            assert found == in_order(members, sort, order)
        else:
            assert_problem(self.client.get(group_path(group), params={"sort": sort, "order": order}), 404)


def test_the_service_agrees_with_a_dict(client: httpx.Client) -> None:
    class Machine(Customers):
        pass

    Machine.client = client
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            database=None,
            # Over HTTP, looking for the shortest failure takes minutes: add Phase.shrink while you look for its cause.
            phases=[Phase.generate],
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
