"""Many calls at once: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

AT_ONCE = 16


def at_once(calls: list[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    """Make calls at the same time."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], httpx.Response]) -> httpx.Response:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def statuses(answers: list[httpx.Response]) -> dict[int, int]:
    return dict(Counter(answer.status_code for answer in answers))


def test_patches_of_different_fields_lose_nothing_and_are_in_one_order(client: httpx.Client, group: int) -> None:
    customer = create(client, group)
    path = path_of(customer)
    patches: list[Json] = []
    for number in range(8):
        patches += [
            {"first_name": f"First {number}"},
            {"last_name": f"Last {number}", "age": number},
            {"email": f"mail{number}@example.com"},
            {"group_id": any_group()},
        ]
    answers = []
    for start in range(0, len(patches), AT_ONCE):
        calls: list[Callable[[], httpx.Response]] = [
            lambda patch=patch: client.patch(path, json=patch)  # type: ignore[misc]
            for patch in patches[start : start + AT_ONCE]
        ]
        answers += at_once(calls)
    assert statuses(answers) == {200: len(patches)}
    by_version: dict[int, tuple[Json, Json]] = {
        answer.json()["version"]: (patch, answer.json()) for patch, answer in zip(patches, answers, strict=True)
    }
    assert sorted(by_version) == list(range(2, len(patches) + 2))
    # Each answer is the previous one plus its own patch, as if the calls had come one by one.
    state: dict[str, Any] = customer
    for version in sorted(by_version):
        patch, after = by_version[version]
        assert after == {**state, **patch, "version": version, "updated_at": after["updated_at"]}
        state = after
    assert client.get(path).json() == state
    assert walk(client, state["group_id"], age="true") == [state]
    assert_problem(client.get(group_path(group)), 404)


def test_of_patches_at_the_same_version_exactly_one_succeeds(client: httpx.Client, group: int) -> None:
    path = path_of(create(client, group))
    for version in (1, 2, 3):
        answers = at_once(
            [
                lambda age=age, version=version: client.patch(  # type: ignore[misc]
                    path, json={"age": age}, headers={"If-Match": f'"{version}"'}
                )
                for age in range(AT_ONCE)
            ]
        )
        assert statuses(answers) == {200: 1, 412: AT_ONCE - 1}
        assert {answer.headers["ETag"] for answer in answers} == {f'"{version + 1}"'}
        (winner,) = (answer for answer in answers if answer.status_code == 200)
        assert client.get(path).json() == winner.json()


def test_of_deletes_exactly_one_succeeds(client: httpx.Client, group: int) -> None:
    for headers in ({}, {"If-Match": '"1"'}, {"If-Match": "*"}):
        path = path_of(create(client, group))
        answers = at_once([lambda path=path, headers=headers: client.delete(path, headers=headers)] * AT_ONCE)  # type: ignore[misc]
        assert statuses(answers) == {200: 1, 404: AT_ONCE - 1}


def test_a_patch_does_not_bring_back_what_is_deleted(client: httpx.Client, group: int) -> None:
    for _ in range(5):
        path = path_of(create(client, group))
        patches: list[Callable[[], httpx.Response]] = [lambda path=path: client.patch(path, json={"age": 1})] * 7  # type: ignore[misc]
        deletes: list[Callable[[], httpx.Response]] = [lambda path=path: client.delete(path)]  # type: ignore[misc]
        *patched, deleted = at_once(patches + deletes)
        assert deleted.status_code == 200
        assert statuses(patched).keys() <= {200, 404}
        assert_problem(client.get(path), 404)
    assert_problem(client.get(group_path(group)), 404)


def test_of_a_patch_and_a_delete_at_the_same_version_exactly_one_succeeds(client: httpx.Client, group: int) -> None:
    for _ in range(5):
        path, headers = path_of(create(client, group)), {"If-Match": '"1"'}
        answers = at_once(
            [
                lambda path=path, headers=headers: client.patch(path, json={"age": 1}, headers=headers),  # type: ignore[misc]
                lambda path=path, headers=headers: client.delete(path, headers=headers),  # type: ignore[misc]
            ]
            * 4
        )
        assert statuses(answers)[200] == 1
        assert statuses(answers).keys() <= {200, 404, 412}


def test_lists_at_the_same_time_are_each_whole_and_share_no_id(client: httpx.Client, group: int) -> None:
    def list_of(number: int) -> Json:
        return {"customers": [customer_body(group, first_name=f"List {number}", age=age) for age in range(40)]}

    lists = [list_of(number) for number in range(8)]
    answers = at_once(
        [lambda rows=rows: client.post(COLLECTION, params={"size": "list"}, json=rows) for rows in lists]  # type: ignore[misc]
    )
    assert statuses(answers) == {201: len(lists)}
    created = [customer for answer in answers for customer in answer.json()["customers"]]
    assert len(set(ids(created))) == 8 * 40
    assert sorted(ids(walk(client, group, limit=1000))) == sorted(ids(created))
    for rows, answer in zip(lists, answers, strict=True):
        names = [(customer["first_name"], customer["age"]) for customer in answer.json()["customers"]]
        assert names == [(row["first_name"], row["age"]) for row in rows["customers"]]


def test_customers_created_at_the_same_time_are_each_there_once(client: httpx.Client, group: int) -> None:
    answers = at_once(
        [lambda age=age: client.post(COLLECTION, json=customer_body(group, age=age)) for age in range(AT_ONCE)]  # type: ignore[misc]
    )
    assert statuses(answers) == {201: AT_ONCE}
    found = walk(client, group, age="true", sort="age")
    assert found == [answer.json() for answer in answers]
