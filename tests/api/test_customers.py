"""One customer: created, read, changed, deleted."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import pytest

from tests.api.support import (
    COLLECTION,
    MAX_ID,
    SHOWN,
    any_group,
    assert_invalid,
    assert_problem,
    create,
    customer_body,
    group_path,
    ids,
    path_of,
    walk,
)

if TYPE_CHECKING:
    import httpx

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
JSON = {"Content-Type": "application/json"}


def assert_customer(customer: dict[str, Any], sent: dict[str, Any]) -> None:
    """Check a customer just created."""
    assert tuple(customer) == SHOWN
    assert customer == customer | {"age": None} | sent
    assert type(customer["id"]) is int
    assert 1 <= customer["id"] <= MAX_ID
    assert customer["version"] == 1
    assert TIME.fullmatch(customer["created_at"])
    assert customer["updated_at"] == customer["created_at"]
    age = datetime.now(UTC) - datetime.fromisoformat(customer["created_at"])
    assert abs(age.total_seconds()) < 60


# POST, one


def test_the_example_is_created(client: httpx.Client) -> None:
    body = '{"first_name": "John", "last_name": "Doe", "email": "john.doe@example.com", "group_id": 1}'
    response = client.post("/api/customers/?size=one", content=body, headers=JSON)
    assert response.status_code == 201
    assert_customer(response.json(), json.loads(body))


def test_size_one_is_the_default(client: httpx.Client, group: int) -> None:
    response = client.post(COLLECTION, json=customer_body(group))
    assert response.status_code == 201
    assert_customer(response.json(), customer_body(group))


@pytest.mark.parametrize("age", [None, 0, 37, 150])
def test_an_age_is_optional_and_kept(client: httpx.Client, group: int, age: int | None) -> None:
    customer = create(client, group, age=age)
    assert customer["age"] == age
    assert client.get(path_of(customer)).json() == customer


@pytest.mark.parametrize("path", ["/api/customers", "/api/customers/"])
def test_location_leads_to_the_new_customer(client: httpx.Client, group: int, path: str) -> None:
    response = client.post(path, json=customer_body(group))
    assert response.headers["ETag"] == '"1"'
    location = urljoin(str(response.url), response.headers["Location"])
    found = client.get(location)
    assert found.status_code == 200
    assert found.json() == response.json()
    assert found.headers["ETag"] == '"1"'


def test_the_domain_of_an_email_is_lower_cased_and_its_local_part_kept(client: httpx.Client, group: int) -> None:
    customer = create(client, group, email="John.DOE@Example.COM")
    assert customer["email"] == "John.DOE@example.com"
    patched = client.patch(path_of(customer), json={"email": "JANE@EXAMPLE.com"}).json()
    assert patched["email"] == "JANE@example.com"
    assert client.get(path_of(customer)).json() == patched


def test_the_same_customer_twice_is_two_customers(client: httpx.Client, group: int) -> None:
    assert create(client, group)["id"] != create(client, group)["id"]
    assert len(walk(client, group)) == 2


@pytest.mark.parametrize(
    "name", ["Élodie", "李小龍", "محمد", "😀", "O'Neil", "</script>", '"', "\\", "{}", "%s", "null"]
)
def test_names_come_back_as_they_were_sent(client: httpx.Client, group: int, name: str) -> None:
    customer = create(client, group, first_name=name, last_name=name)
    assert client.get(path_of(customer)).json() == customer
    assert (customer["first_name"], customer["last_name"]) == (name, name)
    assert walk(client, group, age="true") == [customer]


# POST, list


def test_the_example_list_is_created_in_the_order_sent(client: httpx.Client) -> None:
    body = (
        '{"customers": ['
        '{"first_name": "John", "last_name": "Doe", "email": "john.doe@example.com", "group_id": 1}, '
        '{"first_name": "Jane", "last_name": "Roe", "email": "jane.roe@example.com", "group_id": 2}]}'
    )
    response = client.post("/api/customers/?size=list", content=body, headers=JSON)
    assert response.status_code == 201
    assert response.json().keys() == {"customers"}
    created, sent = response.json()["customers"], json.loads(body)["customers"]
    assert len(created) == 2
    for customer, row in zip(created, sent, strict=True):
        assert_customer(customer, row)
        assert client.get(path_of(customer)).json() == customer


@pytest.mark.parametrize("on_error", ["abort", "keep"])
@pytest.mark.parametrize("count", [1, 2, 100])
def test_a_list_of_good_rows_is_created_whole(client: httpx.Client, group: int, count: int, on_error: str) -> None:
    rows = [customer_body(group, first_name=f"Number {index}", age=index) for index in range(count)]
    response = client.post(COLLECTION, params={"size": "list", "on_error": on_error}, json={"customers": rows})
    assert response.status_code == 201
    created = response.json()["customers"]
    assert [customer["first_name"] for customer in created] == [row["first_name"] for row in rows]
    assert len(set(ids(created))) == count
    found = walk(client, group, age="true", limit=1000)
    assert sorted(found, key=lambda one: one["id"]) == sorted(created, key=lambda one: one["id"])


def test_a_list_with_a_bad_row_is_refused_whole_with_every_error_of_every_row(client: httpx.Client, group: int) -> None:
    rows: list[object] = [customer_body(group) for _ in range(7)]
    rows[1] = customer_body(group, email="nobody", age=151)
    rows[3] = "row"
    rows[4] = None
    rows[6] = {"first_name": "", "group_id": 0, "nickname": "J"}
    for parameters in ({"size": "list"}, {"size": "list", "on_error": "abort"}):
        response = client.post(COLLECTION, params=parameters, json={"customers": rows})
        assert_invalid(
            response,
            ("#/customers/1/email", "invalid_email"),
            ("#/customers/1/age", "too_large"),
            ("#/customers/3", "wrong_type"),
            ("#/customers/4", "wrong_type"),
            ("#/customers/6/first_name", "too_short"),
            ("#/customers/6/last_name", "required"),
            ("#/customers/6/email", "required"),
            ("#/customers/6/group_id", "too_small"),
            ("#/customers/6/nickname", "unknown_field"),
        )
    assert_problem(client.get(group_path(group)), 404)


def test_keep_writes_the_good_rows_and_reports_the_bad_ones(client: httpx.Client, group: int) -> None:
    rows = [
        customer_body(group, email="nobody"),
        customer_body(group, first_name="Good"),
        customer_body(group, age=-1, id=5),
        customer_body(group, first_name="Better", age=3),
    ]
    response = client.post(COLLECTION, params={"size": "list", "on_error": "keep"}, json={"customers": rows})
    assert response.status_code == 207
    assert response.json().keys() == {"results"}
    results = response.json()["results"]
    assert [(result["index"], result["status"]) for result in results] == [(0, 400), (1, 201), (2, 400), (3, 201)]
    assert_customer(results[1]["customer"], rows[1])
    assert_customer(results[3]["customer"], rows[3])
    assert [(error["pointer"], error["code"]) for error in results[0]["errors"]] == [
        ("#/customers/0/email", "invalid_email")
    ]
    assert sorted((error["pointer"], error["code"]) for error in results[2]["errors"]) == [
        ("#/customers/2/age", "too_small"),
        ("#/customers/2/id", "read_only"),
    ]
    found = sorted(walk(client, group, age="true"), key=lambda one: one["first_name"])
    assert found == [results[3]["customer"], results[1]["customer"]]


def test_keep_with_bad_rows_only_writes_nothing(client: httpx.Client, group: int) -> None:
    rows = [customer_body(group, age=999)] * 2
    response = client.post(COLLECTION, params={"size": "list", "on_error": "keep"}, json={"customers": rows})
    assert response.status_code == 207
    assert [(result["index"], result["status"]) for result in response.json()["results"]] == [(0, 400), (1, 400)]
    assert_problem(client.get(group_path(group)), 404)


@pytest.mark.parametrize("on_error", ["abort", "keep"])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"customers": []}, "too_short"),
        ({"customers": [customer_body(1)] * 101}, "too_long"),
        ({"customers": {"0": customer_body(1)}}, "wrong_type"),
        ({"customers": None}, "wrong_type"),
        ({"customers": "[]"}, "wrong_type"),
        ({}, "required"),
    ],
)
def test_a_list_holds_1_to_100_customers(client: httpx.Client, body: object, code: str, on_error: str) -> None:
    response = client.post(COLLECTION, params={"size": "list", "on_error": on_error}, json=body)
    assert_invalid(response, ("#/customers", code))


def test_a_list_and_a_customer_are_not_taken_for_each_other(client: httpx.Client, group: int) -> None:
    listed = client.post(COLLECTION, json={"customers": [customer_body(group)]})
    required = [(f"#/{name}", "required") for name in ("first_name", "last_name", "email", "group_id")]
    assert_invalid(listed, ("#/customers", "unknown_field"), *required)
    one = client.post(COLLECTION, params={"size": "list"}, json=customer_body(group))
    unknown = [(f"#/{name}", "unknown_field") for name in customer_body(group)]
    assert_invalid(one, ("#/customers", "required"), *unknown)
    assert_problem(client.get(group_path(group)), 404)


# POST, dry run


def test_a_dry_run_counts_and_writes_nothing(client: httpx.Client, group: int) -> None:
    one = client.post(COLLECTION, params={"dry_run": "true"}, json=customer_body(group))
    assert (one.status_code, one.json()) == (200, {"valid": True, "count": 1})
    rows = {"customers": [customer_body(group)] * 100}
    for on_error in ("abort", "keep"):
        many = client.post(COLLECTION, params={"dry_run": "true", "size": "list", "on_error": on_error}, json=rows)
        assert (many.status_code, many.json()) == (200, {"valid": True, "count": 100})
    assert_problem(client.get(group_path(group)), 404)


def test_a_dry_run_finds_the_errors_that_the_run_would(client: httpx.Client, group: int) -> None:
    bad = customer_body(group, age=-1)
    assert_invalid(client.post(COLLECTION, params={"dry_run": "true"}, json=bad), ("#/age", "too_small"))
    rows = {"customers": [customer_body(group), bad]}
    for on_error in ("abort", "keep"):
        response = client.post(COLLECTION, params={"dry_run": "true", "size": "list", "on_error": on_error}, json=rows)
        assert_invalid(response, ("#/customers/1/age", "too_small"))
    assert_problem(client.get(group_path(group)), 404)


def test_dry_run_false_writes(client: httpx.Client, group: int) -> None:
    response = client.post(COLLECTION, params={"dry_run": "false"}, json=customer_body(group))
    assert response.status_code == 201
    assert ids(walk(client, group)) == [response.json()["id"]]


# GET


@pytest.mark.parametrize("tag", ['"1"', 'W/"1"', "*", '"0", "1"', '"x","1"', 'W/"7", W/"1-gzip"', '"7" , "1"'])
def test_a_current_tag_is_answered_without_a_body(client: httpx.Client, group: int, tag: str) -> None:
    response = client.get(path_of(create(client, group)), headers={"If-None-Match": tag})
    assert response.status_code == 304
    assert response.content == b""
    assert response.headers["ETag"] == '"1"'


@pytest.mark.parametrize("tag", ['"2"', '"01"', '"11"', '""', 'W/"2"', '"x"', '"1-x"'])
def test_another_tag_is_answered_with_the_customer(client: httpx.Client, group: int, tag: str) -> None:
    customer = create(client, group)
    response = client.get(path_of(customer), headers={"If-None-Match": tag})
    assert (response.status_code, response.json()) == (200, customer)
    assert response.headers["ETag"] == '"1"'


def test_an_old_tag_is_answered_with_the_new_version(client: httpx.Client, group: int) -> None:
    customer = create(client, group)
    client.patch(path_of(customer), json={"age": 1})
    response = client.get(path_of(customer), headers={"If-None-Match": '"1"'})
    assert response.status_code == 200
    assert response.headers["ETag"] == '"2"'


def test_a_tag_does_not_make_a_customer(client: httpx.Client) -> None:
    assert_problem(client.get(f"/api/customers/{any_group()}", headers={"If-None-Match": "*"}), 404)


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("tag", ["1", '"1", 2', 'foo"1"', 'w/"1"'])
def test_a_malformed_tag_is_told_before_anything_else_wherever_it_is_sent(
    client: httpx.Client, group: int, tag: str, header: str
) -> None:
    path = path_of(create(client, group))
    missing = f"/api/customers/{any_group()}"
    external = f"/api/customers/external/{group}"
    body = customer_body(group, age=2)
    calls: list[tuple[str, str, dict[str, Any] | None]] = [
        *((method, place, None) for method in ("GET", "DELETE") for place in (path, missing)),
        *(("PATCH", place, {"age": 2}) for place in (path, missing)),
        *(("GET", place, None) for place in (external, group_path(group), f"{path}/history")),
        ("GET", f"{COLLECTION}?email=a@example.com", None),
        ("PUT", external, body),
        ("POST", COLLECTION, body),
        ("POST", f"{COLLECTION}?dry_run=true", body),
    ]
    for method, place, sent in calls:
        answer = client.request(method, place, json=sent, headers={header: tag})
        (error,) = assert_problem(answer, 400)["errors"]
        assert (error["header"], error["code"]) == (header, "invalid_tag"), (method, place)
    assert client.get(path).json()["version"] == 1
    assert_problem(client.get(external), 404)


# PATCH


@pytest.mark.parametrize(
    "changes",
    [
        {"first_name": "Jane"},
        {"last_name": "Roe"},
        {"email": "jane@example.org"},
        {"age": 41},
        {"age": 0},
        {"age": None},
        {"group_id": 77},
        {"first_name": "Jane", "last_name": "Roe", "email": "jane@example.org", "age": 41, "group_id": 78},
    ],
)
def test_what_a_patch_sends_changes_and_the_rest_stays(
    client: httpx.Client, group: int, changes: dict[str, object]
) -> None:
    before = create(client, group, age=40)
    response = client.patch(path_of(before), json=changes)
    assert response.status_code == 200
    after = response.json()
    assert tuple(after) == SHOWN
    assert after == {**before, **changes, "version": 2, "updated_at": after["updated_at"]}
    assert TIME.fullmatch(after["updated_at"])
    assert after["updated_at"] >= before["updated_at"]
    assert response.headers["ETag"] == '"2"'
    assert client.get(path_of(before)).json() == after


def test_a_patch_moves_a_customer_to_its_new_group(client: httpx.Client, group: int) -> None:
    customer, new_group = create(client, group), any_group()
    moved = client.patch(path_of(customer), json={"group_id": new_group}).json()
    assert_problem(client.get(group_path(group)), 404)
    assert walk(client, new_group, age="true") == [moved]


def test_a_patch_that_repeats_what_is_stored_succeeds(client: httpx.Client, group: int) -> None:
    customer = create(client, group, age=4)
    same = {name: customer[name] for name in ("first_name", "last_name", "email", "group_id", "age")}
    for _ in range(2):
        response = client.patch(path_of(customer), json=same)
        assert response.status_code == 200
        assert response.json() | {"updated_at": "", "version": 0} == customer | {"updated_at": "", "version": 0}
    assert client.get(path_of(customer)).headers["ETag"] == response.headers["ETag"]


def test_clearing_an_age_that_is_not_there_succeeds(client: httpx.Client, group: int) -> None:
    customer = create(client, group)
    response = client.patch(path_of(customer), json={"age": None})
    assert response.status_code == 200
    assert response.json()["age"] is None


def test_null_clears_nothing_but_the_age(client: httpx.Client, group: int) -> None:
    customer = create(client, group)
    nothing = dict.fromkeys(("first_name", "last_name", "email", "group_id"))
    response = client.patch(path_of(customer), json={**nothing, "age": 9})
    assert_invalid(response, *((f"#/{name}", "null") for name in nothing))
    assert client.get(path_of(customer)).json() == customer


def test_an_empty_patch_is_refused(client: httpx.Client, group: int) -> None:
    customer = create(client, group)
    assert_invalid(client.patch(path_of(customer), json={}), ("#", "empty"))
    assert client.get(path_of(customer)).json() == customer


def test_a_patch_with_one_bad_field_changes_nothing(client: httpx.Client, group: int) -> None:
    customer = create(client, group)
    response = client.patch(path_of(customer), json={"first_name": "Jane", "age": 151, "email": "x"})
    assert_invalid(response, ("#/age", "too_large"), ("#/email", "invalid_email"))
    assert client.get(path_of(customer)).json() == customer


def test_bad_is_decided_before_missing_and_missing_before_mismatch(client: httpx.Client, group: int) -> None:
    missing, there = f"/api/customers/{any_group()}", path_of(create(client, group))
    other = {"If-Match": '"9"'}
    for path in (missing, there, "/api/customers/abc"):
        assert_problem(client.patch(path, json={"age": -1}, headers=other), 400)
        assert_problem(client.patch(path, json={"age": 1}, params={"x": "1"}, headers=other), 400)
        assert_problem(client.delete(path, params={"x": "1"}, headers=other), 400)
    for path in (missing, "/api/customers/abc"):
        assert_problem(client.patch(path, json={"age": 1}, headers=other), 404)
        assert_problem(client.delete(path, headers=other), 404)
    assert_problem(client.patch(there, json={"age": 1}, headers=other), 412)
    assert_problem(client.delete(there, headers=other), 412)


def test_a_patch_creates_nothing(client: httpx.Client) -> None:
    path = f"/api/customers/{any_group()}"
    for headers in ({}, {"If-Match": "*"}):
        assert_problem(client.patch(path, json=customer_body(1), headers=headers), 404)
    assert_problem(client.get(path), 404)


# If-Match

MATCHING = ['"2"', "*", '"1", "2"', '"2","3"', 'W/"2"', '"2-gzip"', 'W/"2-br"', '"x", "2"', ' "2" ']
OTHERS = [
    '"{before}"',
    '"{after}"',
    'W/"{before}"',
    '"{after}-gzip"',
    '""',
    '"0{now}"',
    '"x"',
    '"{before}", "{after}"',
    '"{before},{now}"',
    '"{now}-x"',
    '"{now}{now}"',
    '"-{now}"',
    '"{now}.0"',
    '"99999999999999999999"',
]
"""Tags that are not the one of the version that the customer is at now."""


@pytest.mark.parametrize("tag", MATCHING)
def test_a_change_goes_ahead_at_the_expected_version(client: httpx.Client, group: int, tag: str) -> None:
    path = path_of(create(client, group))
    assert client.patch(path, json={"age": 1}).status_code == 200
    headers = {"If-Match": tag.strip()}
    patched = client.patch(path, json={"age": 2}, headers=headers)
    assert (patched.status_code, patched.headers["ETag"]) == (200, '"3"')
    again = path_of(create(client, group))
    assert client.patch(again, json={"age": 1}).status_code == 200
    assert client.delete(again, headers=headers).status_code == 200
    assert_problem(client.get(again), 404)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("form", OTHERS)
def test_a_change_at_another_version_is_refused_with_the_current_tag(
    client: httpx.Client, group: int, form: str, version: int
) -> None:
    current = create(client, group)
    path = path_of(current)
    for _ in range(1, version):
        current = client.patch(path, json={"age": 1}).json()
    tag = form.format(before=version - 1, now=version, after=version + 1)
    for response in (
        client.patch(path, json={"age": 2}, headers={"If-Match": tag}),
        client.delete(path, headers={"If-Match": tag}),
    ):
        assert_problem(response, 412)
        assert response.headers["ETag"] == f'"{version}"'
    assert client.get(path).json() == current


def test_the_tag_of_one_answer_is_good_for_the_next_change(client: httpx.Client, group: int) -> None:
    response = client.post(COLLECTION, json=customer_body(group))
    path = path_of(response.json())
    for age in (1, None, 3):
        response = client.patch(path, json={"age": age}, headers={"If-Match": response.headers["ETag"]})
        assert response.status_code == 200
    response = client.get(path)
    assert response.json()["version"] == 4
    assert client.delete(path, headers={"If-Match": response.headers["ETag"]}).status_code == 200


# DELETE


def test_a_deleted_customer_is_gone_everywhere(client: httpx.Client, group: int) -> None:
    customer = create(client, group)
    response = client.delete(path_of(customer))
    assert response.status_code == 200
    assert response.json() == {"id": customer["id"], "deleted": True}
    assert_problem(client.get(path_of(customer)), 404)
    assert_problem(client.patch(path_of(customer), json={"age": 1}), 404)
    assert_problem(client.delete(path_of(customer)), 404)
    assert_problem(client.delete(path_of(customer), headers={"If-Match": '"1"'}), 404)
    assert_problem(client.get(group_path(group)), 404)


def test_deleting_one_leaves_the_others(client: httpx.Client, group: int) -> None:
    kept, deleted = create(client, group), create(client, group)
    assert client.delete(path_of(deleted)).status_code == 200
    assert walk(client, group, age="true") == [kept]


@pytest.mark.parametrize("on_error", ["abort", "keep"])
def test_an_object_of_nothing_but_unknown_fields_gets_an_answer_of_bounded_size(
    client: httpx.Client, group: int, on_error: str
) -> None:
    junk = {str(number): 0 for number in range(80_000)}
    rows = [customer_body(group), {**customer_body(group), "first_name": 1, **junk}]
    response = client.post(COLLECTION, params={"size": "list", "on_error": on_error}, json={"customers": rows})
    if on_error == "keep":
        assert response.status_code == 207
        good, bad = response.json()["results"]
        assert (good["status"], bad["status"]) == (201, 400)
        errors = bad["errors"]
    else:
        errors = assert_problem(response, 400)["errors"]
    assert (errors[0]["pointer"], errors[0]["code"]) == ("#/customers/1/first_name", "wrong_type")
    assert (errors[-1]["pointer"], errors[-1]["code"]) == ("#/customers/1", "too_many_errors")
    assert len(errors) == 101
