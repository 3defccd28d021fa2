"""A group, page by page, in six orders."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.api.support import (
    COLLECTION,
    ORDERS,
    SHOWN,
    SORTS,
    Json,
    any_group,
    assert_invalid,
    assert_problem,
    create,
    create_list,
    customer_body,
    group_path,
    ids,
    in_order,
    pages,
    path_of,
    walk,
    without_age,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from tests.conftest import Service

NAMES = [
    "Ann",
    "Anna",
    "Ann B",
    "Ann-Marie",
    "ann",
    "ÁNN",
    "A\u0301nn",
    "anna",
    "Élodie",
    "elodie",
    "ELODIE",
    "Elodié",
    "Straße",
    "STRASSE",
    "Strasse",
    "İstanbul",
    "istanbul",
    "Istanbul",
    "ﬁona",
    "Fiona",
    "ｆｉｏｎａ",  # noqa: RUF001 - full-width letters
    "Zoë",
    "zoe",
    "Ω",
    "ω",
    "Ångström",
    "angstrom",
    "Łukasz",
    "Lukasz",
    "Ñandú",
    "nandu",
    "O'Neil",
    "O’Neil",  # noqa: RUF001 - the typographic apostrophe
    "~",
    "!",
    "1",
    "10",
    "2",
    "李小龍",
    "محمد",
    "한국",
    "한",
    "ﷺ",
    "\u0301",
    "😀",
    "😀" * 100,
    "ﷺ" * 100,
    "z" * 100,
    "z" * 99,
]
EMAILS = [
    "ann@example.com",
    "Ann@example.com",
    "anna@example.com",
    "ann.b@example.com",
    "ann-b@example.com",
    "ann+1@example.com",
    "ann@example.co",
    "ann@example.com.au",
    "ANN@example.org",
    "élodie@example.com",
    "elodie@example.com",
    "z@example.com",
    f"{'z' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 57}.com",
]
AGES = [None, 0, 1, 9, 10, 99, 100, 150]
LIMITS = {"id": 1, "first_name": 1, "last_name": 7, "email": 1, "age": 1, "created_at": 3}


@pytest.fixture(scope="module")
def people(client: httpx.Client) -> list[Json]:
    """Return a group with every awkward value, created in several calls and partly changed."""
    group = any_group()
    rows = [
        customer_body(
            group,
            first_name=name,
            last_name=NAMES[index * 7 % len(NAMES)],
            email=EMAILS[index % len(EMAILS)],
            age=AGES[index % len(AGES)],
        )
        for index, name in enumerate(NAMES)
    ]
    created: list[Json] = []
    for start in range(0, len(rows), 10):
        created += create_list(client, rows[start : start + 10])
    # What a change leaves in the indexes must sort in the same way as what was created.
    for index in range(0, len(created), 5):
        changes = {"first_name": NAMES[-index], "email": EMAILS[-(index % len(EMAILS))], "age": AGES[index % 3]}
        created[index] = client.patch(path_of(created[index]), json=changes).json()
    return created


def group_of(people: list[Json]) -> int:
    group: int = people[0]["group_id"]
    return group


# Order


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sort", SORTS)
def test_a_group_is_sorted_as_the_contract_says(
    client: httpx.Client, people: list[Json], sort: str, order: str
) -> None:
    expected = in_order(people, sort, order)
    response = client.get(group_path(group_of(people)), params={"sort": sort, "order": order, "age": "true"})
    assert response.json() == {"customers": expected, "next_cursor": None}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sort", SORTS)
def test_a_walk_gives_the_same_order_as_one_page(
    client: httpx.Client, people: list[Json], sort: str, order: str
) -> None:
    found = walk(client, group_of(people), sort=sort, order=order, age="true", limit=LIMITS[sort])
    assert found == in_order(people, sort, order)


def test_the_default_is_by_id_ascending_without_ages(client: httpx.Client, people: list[Json]) -> None:
    expected = [without_age(customer) for customer in in_order(people, "id", "asc")]
    response = client.get(group_path(group_of(people)))
    assert response.json() == {"customers": expected, "next_cursor": None}


@pytest.mark.parametrize(("age", "shown"), [("true", SHOWN), ("false", tuple(n for n in SHOWN if n != "age"))])
def test_an_age_is_shown_on_demand(client: httpx.Client, people: list[Json], age: str, shown: tuple[str, ...]) -> None:
    for sort in ("id", "age"):
        found = walk(client, group_of(people), age=age, sort=sort)
        assert len(found) == len(people)
        assert {tuple(customer) for customer in found} == {shown}


def test_a_customer_without_an_age_comes_last_and_in_desc_first(client: httpx.Client, group: int) -> None:
    ages = [150, None, 0, 9, None, 10]
    create_list(client, [customer_body(group, age=age) for age in ages])
    up = [customer["age"] for customer in walk(client, group, sort="age", age="true")]
    assert up == [0, 9, 10, 150, None, None]
    down = [customer["age"] for customer in walk(client, group, sort="age", order="desc", age="true")]
    assert down == [None, None, 150, 10, 9, 0]


def test_a_prefix_comes_before_what_it_begins(client: httpx.Client, group: int) -> None:
    names = ["Anna", "Ann B", "Ann", "Annabel", "An"]
    create_list(client, [customer_body(group, last_name=name) for name in names])
    found = [customer["last_name"] for customer in walk(client, group, sort="last_name")]
    assert found == ["An", "Ann", "Ann B", "Anna", "Annabel"]


def test_case_and_accents_do_not_count(client: httpx.Client, group: int) -> None:
    names = ["zebra", "Élodie", "elodie", "Apple", "ÉLODIE", "Eloise", "elodia"]
    create_list(client, [customer_body(group, first_name=name) for name in names])
    found = [customer["first_name"].lower().replace("é", "e") for customer in walk(client, group, sort="first_name")]
    assert found == ["apple", "elodia", "elodie", "elodie", "elodie", "eloise", "zebra"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sort", [sort for sort in SORTS if sort != "id"])
def test_equal_values_are_in_the_order_of_their_ids(client: httpx.Client, group: int, sort: str, order: str) -> None:
    created = create_list(client, [customer_body(group)] * 30)
    found = ids(walk(client, group, sort=sort, order=order, limit=7))
    assert found == sorted(ids(created), reverse=order == "desc")


def test_the_longest_letters_sort_by_what_they_begin_with(client: httpx.Client, group: int) -> None:
    # U+FDFA stands for 18 letters, and the length of a sort text is limited.
    names = ["ﷺ" * 100, "b" * 100, "ﷺ" * 99, "😀" * 100, "😀" * 99 + "a", "é" * 100, "가" * 100]
    created = create_list(client, [customer_body(group, first_name=name, last_name=name) for name in names])
    for sort in ("first_name", "last_name"):
        for order in ORDERS:
            found = walk(client, group, sort=sort, order=order, limit=1)
            assert sorted(ids(found)) == sorted(ids(created))
            heads = [customer[sort][0] for customer in found]
            # What is compared: e, U+0635 (the ligature's first letter), U+1100 (the syllable's first letter).
            assert heads == sorted(heads, key="béﷺ가😀".index, reverse=order == "desc")


def test_a_change_moves_a_customer_within_every_order(client: httpx.Client, group: int) -> None:
    first, second = create(client, group, age=1), create(client, group, age=2)
    changes = {"first_name": "Zoe", "last_name": "Zimmer", "email": "z@example.com", "age": 3}
    first = client.patch(path_of(first), json=changes).json()
    for sort in ("first_name", "last_name", "email", "age"):
        assert walk(client, group, sort=sort, age="true") == [second, first]
    first = client.patch(path_of(first), json={"first_name": "A", "last_name": "A", "email": "a@a.de", "age": 0}).json()
    for sort in ("first_name", "last_name", "email", "age"):
        assert walk(client, group, sort=sort, age="true") == [first, second]
    first = client.patch(path_of(first), json={"age": None}).json()
    assert walk(client, group, sort="age", age="true") == [second, first]


# Pages


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("limit", [1, 2, 5, 6, 7])
def test_the_last_page_and_no_other_has_no_cursor(client: httpx.Client, sort: str, order: str, limit: int) -> None:
    group = any_group()
    created = create_list(client, [customer_body(group, first_name=f"N{index}", age=index) for index in range(6)])
    found = list(pages(client, group, sort=sort, order=order, limit=limit, age="true"))
    sizes = [len(page["customers"]) for page in found]
    assert sizes == [limit] * (6 // limit) + ([6 % limit] if 6 % limit else [])
    assert [customer for page in found for customer in page["customers"]] == in_order(created, sort, order)


def test_the_limit_is_100_by_default(client: httpx.Client, group: int) -> None:
    create_list(client, [customer_body(group)] * 100)
    first = client.get(group_path(group)).json()
    assert (len(first["customers"]), first["next_cursor"]) == (100, None)
    create(client, group)
    assert [len(page["customers"]) for page in pages(client, group)] == [100, 1]


def test_a_thousand_customers_fit_on_one_page(client: httpx.Client, group: int) -> None:
    for _ in range(11):
        create_list(client, [customer_body(group)] * 100)
    assert [len(page["customers"]) for page in pages(client, group, limit=1000)] == [1000, 100]
    assert len(set(ids(walk(client, group, limit=999, sort="email", order="desc")))) == 1100


def test_link_leads_to_the_next_page_while_there_is_one(client: httpx.Client, people: list[Json]) -> None:
    query = {"sort": "first_name", "order": "desc", "age": "true", "limit": "20"}
    response = client.get(group_path(group_of(people)), params=query)
    found = list(response.json()["customers"])
    while "Link" in response.headers:
        target, relation = response.headers["Link"].split("; ")
        assert relation == 'rel="next"'
        url = target.strip("<>")
        cursor = response.json()["next_cursor"]
        assert parse_qs(urlsplit(url).query) == {name: [value] for name, value in {**query, "cursor": cursor}.items()}
        response = client.get(url)
        assert response.status_code == 200
        found += response.json()["customers"]
    assert response.json()["next_cursor"] is None
    assert found == in_order(people, "first_name", "desc")


def test_limit_and_age_may_change_on_the_way(client: httpx.Client, people: list[Json]) -> None:
    path, expected = group_path(group_of(people)), in_order(people, "email", "asc")
    first = client.get(path, params={"sort": "email", "limit": "3"}).json()
    assert first["customers"] == [without_age(customer) for customer in expected[:3]]
    query = {"sort": "email", "limit": "1000", "age": "true", "cursor": first["next_cursor"]}
    assert client.get(path, params=query).json() == {"customers": expected[3:], "next_cursor": None}


def test_a_group_without_customers_is_not_found(client: httpx.Client, group: int) -> None:
    assert_problem(client.get(group_path(group)), 404)
    customer = create(client, group)
    assert ids(walk(client, group)) == [customer["id"]]
    client.delete(path_of(customer))
    for sort in SORTS:
        assert_problem(client.get(group_path(group), params={"sort": sort}), 404)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sort", SORTS)
def test_a_walk_goes_on_when_the_place_it_stands_at_is_gone(client: httpx.Client, sort: str, order: str) -> None:
    group = any_group()
    created = create_list(client, [customer_body(group, last_name=f"N{index}", age=index) for index in range(5)])
    expected = in_order(created, sort, order)
    first = client.get(group_path(group), params={"sort": sort, "order": order, "limit": "2"}).json()
    for customer in expected[:3]:
        assert client.delete(path_of(customer)).status_code == 200
    query = {"sort": sort, "order": order, "cursor": first["next_cursor"]}
    assert ids(client.get(group_path(group), params=query).json()["customers"]) == ids(expected[3:])
    for customer in expected[3:]:
        assert client.delete(path_of(customer)).status_code == 200
    last = client.get(group_path(group), params=query)
    assert (last.status_code, last.json()) == (200, {"customers": [], "next_cursor": None})


# Cursors


@pytest.fixture(scope="module")
def cursors(client: httpx.Client, people: list[Json]) -> dict[tuple[str, str], str]:
    """Return a cursor from each walk."""
    found = {}
    for sort in SORTS:
        for order in ORDERS:
            query = {"sort": sort, "order": order, "limit": "1"}
            found[sort, order] = client.get(group_path(group_of(people)), params=query).json()["next_cursor"]
    return found


@pytest.mark.parametrize("sort", ["id", "age", "created_at"])
def test_a_cursor_with_any_character_changed_is_refused(
    client: httpx.Client, people: list[Json], cursors: dict[tuple[str, str], str], sort: str
) -> None:
    cursor = cursors[sort, "asc"]
    path = group_path(group_of(people))
    assert client.get(path, params={"sort": sort, "cursor": cursor}).status_code == 200
    for position, character in enumerate(cursor):
        for other in ("A" if character != "A" else "B", chr(ord(character) ^ 1)):
            changed = cursor[:position] + other + cursor[position + 1 :]
            response = client.get(path, params={"sort": sort, "cursor": changed})
            assert_invalid(response, ("cursor", "invalid_cursor"))


BREAKS: list[Callable[[str], str]] = [
    lambda _: " ",
    lambda _: "0",
    lambda _: "=",
    lambda _: "null",
    lambda _: "é",
    lambda _: "\x00",
    lambda _: "A" * 22,
    lambda _: "A" * 5000,
    lambda cursor: cursor[:-1],
    lambda cursor: cursor[:-4],
    lambda cursor: cursor[1:],
    lambda cursor: cursor[: len(cursor) // 2],
    lambda cursor: cursor + "=",
    lambda cursor: cursor + "A",
    lambda cursor: cursor + "AAAA",
    lambda cursor: cursor + cursor,
    lambda cursor: cursor + "\n",
    lambda cursor: " " + cursor,
    lambda cursor: cursor[::-1],
    lambda cursor: cursor.swapcase(),
]


@pytest.mark.parametrize("break_it", BREAKS)
def test_a_broken_cursor_is_refused(
    client: httpx.Client,
    people: list[Json],
    cursors: dict[tuple[str, str], str],
    break_it: Callable[[str], str],
) -> None:
    for sort in ("id", "last_name"):
        query = {"sort": sort, "cursor": break_it(cursors[sort, "asc"])}
        response = client.get(group_path(group_of(people)), params=query)
        assert_invalid(response, ("cursor", "invalid_cursor"))


def test_a_cursor_of_another_walk_is_refused(
    client: httpx.Client, people: list[Json], cursors: dict[tuple[str, str], str]
) -> None:
    for walk_of, cursor in cursors.items():
        for sort, order in cursors:
            query = {"sort": sort, "order": order, "cursor": cursor}
            response = client.get(group_path(group_of(people)), params=query)
            if (sort, order) == walk_of:
                assert response.status_code == 200
            else:
                assert_invalid(response, ("cursor", "invalid_cursor"))


def test_a_cursor_of_another_group_is_refused(
    client: httpx.Client, group: int, cursors: dict[tuple[str, str], str]
) -> None:
    create(client, group)
    for (sort, order), cursor in cursors.items():
        query = {"sort": sort, "order": order, "cursor": cursor}
        for other in (group, any_group()):
            assert_invalid(client.get(group_path(other), params=query), ("cursor", "invalid_cursor"))


def test_a_cursor_shows_nothing_of_the_customer_it_stands_at(client: httpx.Client, group: int) -> None:
    for _ in range(2):
        create(client, group, last_name="Quastenflosser")
    cursor = client.get(group_path(group), params={"sort": "last_name", "limit": "1"}).json()["next_cursor"]
    assert "uasten" not in cursor.lower()
    # Base64 of the name, for each of the three offsets at which it may begin.
    for hidden in ("cXVhc3Rlb", "F1YXN0ZW", "xdWFzdGVu"):
        assert hidden not in cursor


# While others write


@contextmanager
def churning(service: Service, group: int, stable: list[Json], field: str) -> Iterator[Callable[[], int]]:
    """Create, change, move and delete others, and change a field of those that stay, until the block ends.

    Yields a function that returns how many writes have succeeded.
    """
    stop = threading.Event()
    done = [0, 0]

    def others() -> None:
        with service.client() as client:
            turn = 0
            while not stop.is_set():
                turn += 1
                mark = f"{turn * 7919 % 26:02d}"
                passing = create(
                    client, group, first_name=f"M{mark}", last_name=f"M{mark}", email=f"m{mark}@example.com"
                )
                changes = {
                    "first_name": f"A{mark}",
                    "last_name": f"Z{mark}",
                    "email": f"z{mark}@a.de",
                    "age": turn % 90,
                }
                for response in (
                    client.patch(path_of(passing), json=changes),
                    client.patch(path_of(passing), json={"group_id": group ^ 1 or 2}),
                    client.patch(path_of(passing), json={"group_id": group}),
                    client.delete(path_of(passing)),
                ):
                    assert response.status_code == 200
                    done[0] += 1

    def those_that_stay() -> None:
        with service.client() as client:
            turn = 0
            while not stop.is_set():
                turn += 1
                value = f"n{turn}@example.com" if field == "email" else f"N{turn}"
                response = client.patch(path_of(stable[turn * 31 % len(stable)]), json={field: value})
                assert response.status_code == 200
                done[1] += 1

    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(others), threads.submit(those_that_stay)]
        try:
            yield lambda: min(done)
        finally:
            stop.set()
        for thread in running:
            thread.result()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sort", SORTS)
def test_a_walk_gives_who_was_there_throughout_exactly_once_whatever_is_written(
    service: Service, client: httpx.Client, sort: str, order: str
) -> None:
    group = any_group()
    stable = create_list(
        client,
        [
            customer_body(group, first_name=f"M{i % 26:02d}", last_name=f"M{i % 26:02d}", email=f"m{i}@a.de", age=i)
            for i in range(40)
        ],
    )
    expected = ids(in_order(stable, sort, order))
    with churning(service, group, stable, "email" if sort != "email" else "first_name") as writes:
        walks = 0
        deadline = time.monotonic() + 120
        # Enough writes have to fall between the pages, however little of the processor's time they get.
        while walks < 2 or writes() < 8:
            assert time.monotonic() < deadline
            found = ids(walk(client, group, sort=sort, order=order, limit=3))
            assert [one for one in found if one in set(expected)] == expected
            walks += 1


def test_a_page_can_be_read_while_a_list_is_written_and_shows_it_in_the_end(client: httpx.Client, group: int) -> None:
    rows = {"customers": [customer_body(group)] * 100}
    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(client.post, COLLECTION, params={"size": "list"}, json=rows)
        while not writing.done():
            response = client.get(group_path(group), params={"limit": "1000"})
            assert response.status_code in {200, 404}
        created = writing.result().json()["customers"]
    assert ids(walk(client, group)) == sorted(ids(created))
