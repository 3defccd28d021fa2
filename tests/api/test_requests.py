"""What a request may look like, and every way in which it can be wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.api.support import (
    COLLECTION,
    MAX_ID,
    any_group,
    assert_invalid,
    assert_problem,
    assert_raw_problem,
    create,
    customer_body,
    group_path,
    ids,
    path_of,
    send_raw,
    walk,
)

if TYPE_CHECKING:
    import httpx

    from tests.api.conftest import Tables
    from tests.conftest import Service

FIELDS = ("first_name", "last_name", "email", "group_id", "age")
NAMES = ("first_name", "last_name")


# Paths and tokens


def test_a_path_with_and_without_its_trailing_slash_is_the_same(client: httpx.Client, group: int) -> None:
    for slash in ("", "/"):
        customer = client.post(f"/api/customers{slash}", json=customer_body(group)).json()
        path = f"/api/customers/{customer['id']}{slash}"
        assert client.get(path).json() == customer
        assert client.patch(path, json={"age": 5}).status_code == 200
        assert ids(client.get(f"/api/customers/group/{group}{slash}").json()["customers"]) == [customer["id"]]
        assert client.delete(path).json() == {"id": customer["id"], "deleted": True}


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer   ", ""])
def test_a_token_is_taken_with_its_scheme_in_any_case_or_bare(service: Service, tables: Tables, scheme: str) -> None:
    with tables.caller(None) as caller:
        response = caller.get("/api/customers/1", headers={"Authorization": f"{scheme}{service.token}"})
        assert_problem(response, 404)


@pytest.mark.parametrize("name", ["authorization", "AUTHORIZATION"])
def test_header_names_are_taken_in_any_case(service: Service, client: httpx.Client, group: int, name: str) -> None:
    customer = create(client, group)
    head = f'GET {path_of(customer)} HTTP/1.1\n{name}: bearer {service.token}\nif-none-match: "1"'
    assert send_raw(service, head, authorized=False).status == 304


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-1",
        "1.5",
        "1.0",
        "1e3",
        "abc",
        "null",
        "true",
        "+1",
        "%2B1",
        "01",
        "0x1",
        "1%20",
        "%201",
        "1_000",
        "1,000",
        "1;2",
        "%D9%A1",  # an Arabic 1
        "%EF%BC%91",  # a full-width 1
        "1%0A",
        "1%00",
        "1%2F2",
        "%2E%2E%2F1",
        "%FF",
        str(2**53),
        str(2**63),
        str(2**64 + 1),
        "9" * 400,
        "group",
    ],
)
@pytest.mark.parametrize("prefix", ["/api/customers/", "/api/customers/group/"])
def test_an_id_that_is_no_id_is_not_found(client: httpx.Client, prefix: str, text: str) -> None:
    assert_problem(client.get(f"{prefix}{text}"), 404)
    assert_problem(client.get(f"{prefix}{text}/"), 404)


@pytest.mark.parametrize("text", ["0", "-1", "abc", "1.5", str(2**53), "9" * 400])
def test_an_id_that_is_no_id_can_be_neither_changed_nor_deleted(client: httpx.Client, text: str) -> None:
    assert_problem(client.patch(f"/api/customers/{text}", json={"age": 1}), 404)
    assert_problem(client.delete(f"/api/customers/{text}"), 404)


def test_the_largest_id_is_an_id(client: httpx.Client) -> None:
    create(client, MAX_ID)
    assert {customer["group_id"] for customer in walk(client, MAX_ID)} == {MAX_ID}
    assert_problem(client.get(f"/api/customers/{MAX_ID}"), 404)


def test_a_digit_may_be_percent_encoded(client: httpx.Client, group: int) -> None:
    customer = create(client, group)
    digits = str(customer["id"])
    response = client.get(f"/api/customers/%3{digits[0]}{digits[1:]}")
    assert (response.status_code, response.json()) == (200, customer)


@pytest.mark.parametrize(
    ("path", "instance"),
    [
        ("/api/customers/%", "/api/customers/%25"),
        ("/api/customers/%zz", "/api/customers/%25zz"),
        ("/api/customers/%00", "/api/customers/%00"),
        ("/api/customers/1%2F2", "/api/customers/1%2F2"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_path_of_odd_percent_signs_is_not_found(service: Service, method: str, path: str, instance: str) -> None:
    assert_raw_problem(send_raw(service, f"{method} {path} HTTP/1.1"), 404, instance)


@pytest.mark.parametrize(
    "path", ["//api/customers/1", "/api/customers/../customers/1", "/api/customers/./1", "/%61%70%69x"]
)
def test_a_path_is_not_tidied_up(service: Service, path: str) -> None:
    instance = f"/.{path}" if path.startswith("//") else path
    assert_raw_problem(send_raw(service, f"GET {path} HTTP/1.1"), 404, instance)


def test_a_path_too_long_is_refused(service: Service) -> None:
    path = "/api/customers/" + "1" * 20_000
    assert_raw_problem(send_raw(service, f"GET {path} HTTP/1.1"), 400, path)


# JSON


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"age": 1',
        b'{"age": 1}}',
        b'{"age": 1}{"age": 2}',
        b'{"age": 1,}',
        b'{"age": }',
        b"{age: 1}",
        b"{'age': 1}",
        b'{"age": NaN}',
        b'{"age": Infinity}',
        b'{"age": -Infinity}',
        b'{"age": 01}',
        b'{"age": +1}',
        b'{"age": .5}',
        b'{"age": 1.}',
        b'{"age": 0x10}',
        b'{"age": 1} // note',
        b'{"first_name": "\\x41"}',
        b'{"first_name": "a\nb"}',
        b'{"first_name": "\xff"}',
        b'{"first_name": "\xc3"}',
        b'{"first_name": "\xed\xa0\x80"}',
        b'{"first_name": "\xc0\x80"}',
        b'{"first_name": "J\xf6rg"}',
        b"\xef\xbb\xbf{}",
        '{"age": 1}'.encode("utf-16"),
        '{"age": 1}'.encode("utf-32"),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\x00",
        b"first_name=John&last_name=Doe",
        b"<customer/>",
    ],
)
def test_what_is_no_json_is_refused(client: httpx.Client, group: int, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    customer = create(client, group)
    for size in ("one", "list"):
        response = client.post(COLLECTION, params={"size": size}, content=body, headers=headers)
        assert_invalid(response, ("#", "invalid_json"))
    assert_invalid(client.patch(path_of(customer), content=body, headers=headers), ("#", "invalid_json"))
    assert client.get(path_of(customer)).json() == customer
    assert len(walk(client, group)) == 1


def test_a_lone_surrogate_is_reported_at_its_field(client: httpx.Client, group: int) -> None:
    headers = {"Content-Type": "application/json"}
    good = json.dumps(customer_body(group))
    bad = good.replace('"John"', '"\\ud800"')
    one = client.post(COLLECTION, content=bad, headers=headers)
    assert_invalid(one, ("#/first_name", "invalid_unicode"))
    rows = f'{{"customers": [{good}, {bad}]}}'
    many = client.post(COLLECTION, params={"size": "list"}, content=rows, headers=headers)
    assert_invalid(many, ("#/customers/1/first_name", "invalid_unicode"))
    assert client.get(group_path(group)).status_code == 404


@pytest.mark.parametrize("body", ["null", "true", "0", "1.5", '"text"', "[]", '[{"age": 1}]', "1e400"])
def test_json_that_is_no_object_is_refused(client: httpx.Client, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    for response in (
        client.post(COLLECTION, content=body, headers=headers),
        client.post(COLLECTION, params={"size": "list"}, content=body, headers=headers),
        client.patch("/api/customers/1", content=body, headers=headers),
    ):
        (error,) = assert_problem(response, 400)["errors"]
        assert (error["pointer"], error["code"]) == ("#", "wrong_type")


@pytest.mark.parametrize("digits", [17, 20, 400, 5000, 100_000])
@pytest.mark.parametrize("field", ["group_id", "age"])
def test_a_huge_integer_is_refused(client: httpx.Client, group: int, field: str, digits: int) -> None:
    body = json.dumps(customer_body(group, age=1) | {field: "huge"}).replace('"huge"', "9" * digits)
    response = client.post(COLLECTION, content=body, headers={"Content-Type": "application/json"})
    assert_problem(response, 400)
    assert_problem(client.get(group_path(group)), 404)


@pytest.mark.parametrize("value", ['{"a":' * 150 + "1" + "}" * 150, "[" * 150 + "]" * 150, "[" * 5000 + "]" * 5000])
def test_a_deeply_nested_value_is_refused(client: httpx.Client, group: int, value: str) -> None:
    body = json.dumps(customer_body(group, age="deep")).replace('"deep"', value)
    assert_problem(client.post(COLLECTION, content=body, headers={"Content-Type": "application/json"}), 400)


def test_escapes_and_blanks_are_read_as_json_says(client: httpx.Client, group: int) -> None:
    fields = f'"first_name": "\\u004a\\ud83d\\ude00\\/", "last_name":"D","email":"a@b.co", "group_id":\t{group}'
    body = f"\r\n\t {{{fields}}} \n"
    response = client.post(COLLECTION, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 201
    assert response.json()["first_name"] == "J😀/"


# Media types


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json; charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/json ; charset=utf8",
        "application/json;",
        "application/json; version=1",
    ],
)
def test_json_is_taken_by_every_spelling_of_its_type(client: httpx.Client, group: int, media_type: str | None) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    body = json.dumps(customer_body(group, first_name="Zoë"), ensure_ascii=False).encode()
    response = client.post(COLLECTION, content=body, headers=headers)
    assert response.status_code == 201, response.text
    customer = response.json()
    assert customer["first_name"] == "Zoë"
    patched = client.patch(path_of(customer), content='{"last_name": "Größe"}'.encode(), headers=headers)
    assert patched.status_code == 200
    assert patched.json()["last_name"] == "Größe"


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/jsonp",
        "application/problem+json",
        "application/vnd.api+json",
        "application/json-patch+json",
        "application/*",
        "*/*",
        "json",
        "application/json, text/plain",
        ";",
    ],
)
def test_another_media_type_is_unsupported(client: httpx.Client, group: int, media_type: str) -> None:
    headers = {"Content-Type": media_type}
    customer = create(client, group)
    body = json.dumps(customer_body(group))
    for response in (
        client.post(COLLECTION, content=body, headers=headers),
        client.post(COLLECTION, params={"size": "list"}, content=json.dumps({"customers": []}), headers=headers),
        client.patch(path_of(customer), content='{"age": 1}', headers=headers),
    ):
        assert_problem(response, 415)
    assert walk(client, group, age="true") == [customer]


@pytest.mark.parametrize("media_type", ["application/merge-patch+json", "Application/Merge-Patch+JSON; charset=utf-8"])
def test_merge_patch_is_for_patch_alone(client: httpx.Client, group: int, media_type: str) -> None:
    headers = {"Content-Type": media_type}
    customer = create(client, group)
    patched = client.patch(path_of(customer), content=b'{"first_name": "Zo\xc3\xab"}', headers=headers)
    assert (patched.status_code, patched.json()["first_name"]) == (200, "Zoë")
    assert_invalid(
        client.patch(path_of(customer), content=b'{"first_name": "\xff"}', headers=headers), ("#", "invalid_json")
    )
    assert_problem(client.post(COLLECTION, content=json.dumps(customer_body(group)), headers=headers), 415)


def test_another_charset_is_not_guessed_at(client: httpx.Client, group: int) -> None:
    for charset in ("utf-16", "iso-8859-1"):
        body = json.dumps(customer_body(group, first_name="Jörg"), ensure_ascii=False).encode(charset)
        headers = {"Content-Type": f"application/json; charset={charset}"}
        assert_problem(client.post(COLLECTION, content=body, headers=headers), 415)


# Fields


@pytest.mark.parametrize("field", NAMES)
@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("J", "J"),
        ("j" * 100, "j" * 100),
        ("😀" * 100, "😀" * 100),
        ("  J  ", "J"),
        (" " * 50 + "j" * 100 + " " * 50, "j" * 100),
        ("\u00a0J\u2003", "J"),
        ("J  R", "J  R"),
        ("e\u0301" * 50, "e\u0301" * 50),
    ],
)
def test_a_name_of_1_to_100_characters_is_kept_trimmed(
    client: httpx.Client, group: int, field: str, sent: str, kept: str
) -> None:
    customer = create(client, group, **{field: sent})
    assert customer[field] == kept
    patched = client.patch(path_of(customer), json={field: sent})
    assert (patched.status_code, patched.json()[field]) == (200, kept)
    assert client.get(path_of(customer)).json()[field] == kept


BAD_NAMES = [
    ("", "too_short"),
    (" ", "too_short"),
    (" \t\r\n\u00a0\u3000", "too_short"),
    ("j" * 101, "too_long"),
    ("😀" * 101, "too_long"),
    ("J\x00R", "control_character"),
    ("J\nR", "control_character"),
    ("J\tR", "control_character"),
    ("J\x1fR", "control_character"),
    ("J\x7fR", "control_character"),
    ("J\x85R", "control_character"),
    ("J\x9fR", "control_character"),
    (1, "wrong_type"),
    (1.5, "wrong_type"),
    (True, "wrong_type"),
    (["J"], "wrong_type"),
    ({"J": 1}, "wrong_type"),
    (None, "null"),
]
BAD_IDS = [
    (0, "too_small"),
    (-1, "too_small"),
    (2**53, "too_large"),
    (2**64, "too_large"),
    ("1", "wrong_type"),
    (1.5, "wrong_type"),
    (1e-3, "wrong_type"),
    (True, "wrong_type"),
    ([1], "wrong_type"),
    ({}, "wrong_type"),
    (None, "null"),
]
BAD_AGES = [
    (-1, "too_small"),
    (151, "too_large"),
    (2**70, "too_large"),
    ("1", "wrong_type"),
    ("", "wrong_type"),
    (1.5, "wrong_type"),
    (True, "wrong_type"),
    (False, "wrong_type"),
    ([], "wrong_type"),
    ({}, "wrong_type"),
]
BAD_EMAILS = [
    ("", "invalid_email"),
    ("john", "invalid_email"),
    ("@example.com", "invalid_email"),
    ("john@", "invalid_email"),
    ("john@doe@example.com", "invalid_email"),
    ("john@example", "invalid_email"),
    ("john@.com", "invalid_email"),
    ("john@example..com", "invalid_email"),
    ("john@-example.com", "invalid_email"),
    (".john@example.com", "invalid_email"),
    ("john.@example.com", "invalid_email"),
    ("jo..hn@example.com", "invalid_email"),
    ("jo hn@example.com", "invalid_email"),
    ("john@exa mple.com", "invalid_email"),
    ("john@exam\nple.com", "invalid_email"),
    ("john@example.com\x00", "invalid_email"),
    ("John Doe <john@example.com>", "invalid_email"),
    ("john@example.com,jane@example.com", "invalid_email"),
    ("mailto:john@exa_mple.com", "invalid_email"),
    (f"{'a' * 65}@example.com", "invalid_email"),
    (f"john@{'b' * 64}.com", "invalid_email"),
    (f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 58}.com", "too_long"),
    (1, "wrong_type"),
    (True, "wrong_type"),
    (["john@example.com"], "wrong_type"),
    (None, "null"),
]
BAD_VALUES = [
    *((field, value, code) for field in NAMES for value, code in BAD_NAMES),
    *(("group_id", value, code) for value, code in BAD_IDS),
    *(("age", value, code) for value, code in BAD_AGES),
    *(("email", value, code) for value, code in BAD_EMAILS),
]


@pytest.mark.parametrize(("field", "value", "code"), BAD_VALUES)
def test_a_bad_value_is_refused_by_every_endpoint(
    client: httpx.Client, group: int, field: str, value: object, code: str
) -> None:
    bad = customer_body(group) | {field: value}
    assert_invalid(client.post(COLLECTION, json=bad), (f"#/{field}", code))
    rows = {"customers": [customer_body(group), bad]}
    assert_invalid(client.post(COLLECTION, params={"size": "list"}, json=rows), (f"#/customers/1/{field}", code))
    assert_invalid(client.patch("/api/customers/1", json={field: value}), (f"#/{field}", code))
    assert_problem(client.get(group_path(group)), 404)


@pytest.mark.parametrize(
    "email",
    [
        "a@b.co",
        "john.doe+tag@example.com",
        "o'neil@example.ie",
        "!#$%&'*+-/=?^_`{|}~@example.com",
        "1@2.de",
        "john@sub.sub.example.museum",
        "john@example.test",
        "jörg@example.com",
        "用户@example.com",
        "john@bücher.example.com",
        f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 57}.com",
    ],
)
def test_a_valid_email_is_kept(client: httpx.Client, group: int, email: str) -> None:
    assert len(email) <= 254
    customer = create(client, group, email=email)
    assert customer["email"] == email
    assert client.patch(path_of(customer), json={"email": email}).json()["email"] == email


@pytest.mark.parametrize("missing", [*((field,) for field in FIELDS[:4]), FIELDS[:4], FIELDS[1:3]])
def test_every_missing_field_is_named(client: httpx.Client, missing: tuple[str, ...]) -> None:
    body = {name: value for name, value in customer_body(any_group()).items() if name not in missing}
    assert_invalid(client.post(COLLECTION, json=body), *((f"#/{field}", "required") for field in missing))


@pytest.mark.parametrize("value", [1, None, "x", {}])
@pytest.mark.parametrize("field", ["id", "version", "created_at", "updated_at"])
def test_what_the_service_gives_cannot_be_sent(client: httpx.Client, group: int, field: str, value: object) -> None:
    customer = create(client, group)
    assert_invalid(client.post(COLLECTION, json=customer_body(group, **{field: value})), (f"#/{field}", "read_only"))
    assert_invalid(client.patch(path_of(customer), json={"age": 1, field: value}), (f"#/{field}", "read_only"))
    assert walk(client, group, age="true") == [customer]


@pytest.mark.parametrize(
    ("name", "pointer"),
    [
        ("nickname", "#/nickname"),
        ("First_name", "#/First_name"),
        ("", "#/"),
        (" age", "#/%20age"),
        ("a/b", "#/a~1b"),
        ("a~b", "#/a~0b"),
        ("~1", "#/~01"),
        ("é", "#/%C3%A9"),
        ("😀", "#/%F0%9F%98%80"),
        ('"', "#/%22"),
        ("%", "#/%25"),
        ("#", "#/%23"),
        ("write_token", "#/write_token"),
        ("age_sort", "#/age_sort"),
        ("__proto__", "#/__proto__"),
        ("0", "#/0"),
    ],
)
def test_an_unknown_field_is_named_by_its_pointer(client: httpx.Client, name: str, pointer: str) -> None:
    assert_invalid(client.post(COLLECTION, json=customer_body(1) | {name: 1}), (pointer, "unknown_field"))
    assert_invalid(client.patch("/api/customers/1", json={"age": 1, name: None}), (pointer, "unknown_field"))
    rows = {"customers": [customer_body(1) | {name: {}}]}
    in_row = pointer.replace("#", "#/customers/0", 1)
    assert_invalid(client.post(COLLECTION, params={"size": "list"}, json=rows), (in_row, "unknown_field"))
    beside = {"customers": [customer_body(1)], name: []}
    assert_invalid(client.post(COLLECTION, params={"size": "list"}, json=beside), (pointer, "unknown_field"))


def test_everything_that_is_wrong_is_told_at_once(client: httpx.Client) -> None:
    body = {"first_name": 1, "last_name": " ", "email": "x", "group_id": None, "age": 200, "id": 1, "vip": True}
    wrong = [
        ("#/first_name", "wrong_type"),
        ("#/last_name", "too_short"),
        ("#/email", "invalid_email"),
        ("#/group_id", "null"),
        ("#/age", "too_large"),
        ("#/id", "read_only"),
        ("#/vip", "unknown_field"),
    ]
    query = {"size": "two", "dry_run": "yes", "x": "1"}
    wrong_query = [("size", "not_a_choice"), ("dry_run", "not_a_choice"), ("x", "unknown_parameter")]
    assert_invalid(client.post(COLLECTION, json=body, params=query), *wrong, *wrong_query)
    many_tags = ", ".join(f'"{number}"' for number in range(1, 100))
    patched = client.patch("/api/customers/1", json=body, params={"x": "1"}, headers={"If-Match": many_tags})
    assert_invalid(patched, *wrong, ("x", "unknown_parameter"), ("If-Match", "too_many_tags"))


def test_a_problem_does_not_show_the_values_sent(client: httpx.Client) -> None:
    body = customer_body(1, first_name="Zebulonia" * 20, email="coelacanth", age="tarantula")
    response = client.post(COLLECTION, json=body)
    assert_problem(response, 400)
    for value in ("Zebulonia", "coelacanth", "tarantula"):
        assert value not in response.text


# Query parameters


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/customers/1"),
        ("PATCH", "/api/customers/1"),
        ("DELETE", "/api/customers/1"),
        ("GET", "/api/customers/group/1/"),
        ("POST", "/api/customers/"),
    ],
)
def test_an_unknown_parameter_is_refused(client: httpx.Client, method: str, path: str) -> None:
    body = {"PATCH": {"age": 1}, "POST": customer_body(1)}.get(method)
    for query in ("x=1", "x", "x=", "Sort=id", "limit%20=1", "%C3%A9=1"):
        errors = assert_problem(client.request(method, f"{path}?{query}", json=body), 400)["errors"]
        assert [error["code"] for error in errors] == ["unknown_parameter"]
        assert errors[0]["parameter"]


@pytest.mark.parametrize(
    ("method", "path", "name", "value"),
    [
        ("GET", "/api/customers/group/1/", "sort", "id"),
        ("GET", "/api/customers/group/1/", "order", "asc"),
        ("GET", "/api/customers/group/1/", "age", "true"),
        ("GET", "/api/customers/group/1/", "limit", "1"),
        ("GET", "/api/customers/group/1/", "cursor", "x"),
        ("POST", "/api/customers/", "size", "one"),
        ("POST", "/api/customers/", "on_error", "keep"),
        ("POST", "/api/customers/", "dry_run", "true"),
    ],
)
def test_a_parameter_given_twice_is_refused(
    client: httpx.Client, method: str, path: str, name: str, value: str
) -> None:
    body = customer_body(1) if method == "POST" else None
    response = client.request(method, path, params=[(name, value), (name, value)], json=body)
    errors = assert_problem(response, 400)["errors"]
    assert (name, "repeated_parameter") in [(error["parameter"], error["code"]) for error in errors]


@pytest.mark.parametrize(
    ("method", "path", "name", "value"),
    [
        *(
            ("GET", "/api/customers/group/1/", "sort", value)
            for value in ("", "ID", "name", "id,age", "version", " id")
        ),
        *(("GET", "/api/customers/group/1/", "order", value) for value in ("", "ASC", "up", "-1", "asc ")),
        *(("GET", "/api/customers/group/1/", "age", value) for value in ("", "True", "1", "yes", "0", "null")),
        *(("POST", "/api/customers/", "size", value) for value in ("", "One", "2", "many")),
        *(("POST", "/api/customers/", "on_error", value) for value in ("", "Keep", "skip")),
        *(("POST", "/api/customers/", "dry_run", value) for value in ("", "TRUE", "1", "yes")),
    ],
)
def test_a_parameter_takes_its_own_words_alone(
    client: httpx.Client, method: str, path: str, name: str, value: str
) -> None:
    body = customer_body(1) if method == "POST" else None
    assert_invalid(client.request(method, path, params={name: value}, json=body), (name, "not_a_choice"))


@pytest.mark.parametrize(
    "limit",
    ["", "0", "-1", "1001", "9" * 18, "9" * 30, "9" * 5000, "abc", "1.0", "1e2", "+5", " 5", "5\n", "0x5", "\u0665"],
)
def test_a_limit_is_an_integer_from_1_to_1000(client: httpx.Client, limit: str) -> None:
    assert_invalid(client.get("/api/customers/group/1/", params={"limit": limit}), ("limit", "not_in_range"))


@pytest.mark.parametrize("limit", ["1", "2", "1000"])
def test_a_limit_in_range_is_taken(client: httpx.Client, group: int, limit: str) -> None:
    create(client, group)
    assert len(client.get(group_path(group), params={"limit": limit}).json()["customers"]) == 1


def test_all_wrong_parameters_are_told_at_once(client: httpx.Client) -> None:
    query = "sort=x&order=y&age=z&limit=0&who=me"
    assert_invalid(
        client.get(f"/api/customers/group/1/?{query}"),
        ("sort", "not_a_choice"),
        ("order", "not_a_choice"),
        ("age", "not_a_choice"),
        ("limit", "not_in_range"),
        ("who", "unknown_parameter"),
    )


@pytest.mark.parametrize("query", ["%", "%zz", "%00", "=", "&&=&", "sort=%FF", "limit=%00", "cursor=%FF%00"])
def test_a_query_of_odd_characters_is_refused(service: Service, query: str) -> None:
    path = "/api/customers/group/1/"
    assert_raw_problem(send_raw(service, f"GET {path}?{query} HTTP/1.1"), 400, path)


# On the wire


def test_a_chunked_body_is_read(service: Service, client: httpx.Client, group: int) -> None:
    body = json.dumps(customer_body(group)).encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:40], body[40:])) + b"0\r\n\r\n"
    head = "POST /api/customers/ HTTP/1.1\nContent-Type: application/json\nTransfer-Encoding: chunked"
    answer = send_raw(service, head, chunks)
    assert answer.status == 201
    assert walk(client, group, age="true") == [answer.json()]


@pytest.mark.parametrize("length", ["", "\nContent-Length: 0"])
def test_a_client_that_announces_a_body_and_sends_none_is_answered(service: Service, length: str) -> None:
    answer = send_raw(service, f"GET /api/customers/1 HTTP/1.1\nExpect: 100-continue{length}")
    assert_raw_problem(answer, 404, "/api/customers/1")


def test_a_client_that_waits_to_send_its_body_is_told_to_go_on(service: Service, group: int) -> None:
    body = json.dumps(customer_body(group)).encode()
    head = f"POST /api/customers/ HTTP/1.1\nExpect: 100-continue\nContent-Length: {len(body)}"
    assert send_raw(service, head, body).status == 201


@pytest.mark.parametrize("chunks", [b"zz\r\n", b"-5\r\nhello\r\n", b"5\r\nhelloworld\r\n0\r\n\r\n"])
def test_a_broken_chunk_is_refused(service: Service, chunks: bytes) -> None:
    head = "POST /api/customers/ HTTP/1.1\nContent-Type: application/json\nTransfer-Encoding: chunked"
    assert_raw_problem(send_raw(service, head, chunks), 400, "/api/customers/")


@pytest.mark.parametrize("length", ["abc", "-1", "1.5", "+5"])
def test_a_length_that_is_no_length_is_refused(service: Service, length: str) -> None:
    head = f"POST /api/customers/ HTTP/1.1\nContent-Type: application/json\nContent-Length: {length}"
    assert_raw_problem(send_raw(service, head, b'{"age": 1}'), 400, "/api/customers/")


def test_no_body_at_all_is_refused(service: Service) -> None:
    for head in ("POST /api/customers/ HTTP/1.1", "PATCH /api/customers/1 HTTP/1.1"):
        assert_raw_problem(send_raw(service, head), 400, head.split()[1])


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET", 400),
        ("GET  HTTP/1.1", 400),
        ("\x00", 400),
        # A request whose version is missing or unknown is read as if it were a normal one.
        ("GET /api/customers/1", 404),
        ("GET /api/customers/1 HTTP/9.9", 404),
    ],
)
def test_what_is_no_http_gets_no_customer_and_breaks_nothing(
    service: Service, client: httpx.Client, line: str, status: int
) -> None:
    assert send_raw(service, line).status == status
    assert_problem(client.get("/api/customers/1"), 404)


def test_a_header_too_large_is_refused(service: Service) -> None:
    path = "/api/customers/1"
    assert_raw_problem(send_raw(service, f"GET {path} HTTP/1.1\nX-Large: {'x' * 20_000}"), 400, path)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ('If-Match: "1"\nIf-Match: "2"', 200),
        ('If-Match: "2"\nif-match: "1"', 200),
        ('If-Match: "2"\nIf-Match: "3", "4"', 412),
        ('If-Match: W/"3"\nIf-Match: "5"', 412),
        ('If-Match: "1"\nIf-Match: "1"', 200),
    ],
)
def test_repeated_if_match_lines_are_one_list(
    service: Service, client: httpx.Client, group: int, lines: str, status: int
) -> None:
    customer = create(client, group)
    body = b'{"age": 1}'
    head = f"PATCH {path_of(customer)} HTTP/1.1\n{lines}\nContent-Length: {len(body)}"
    assert send_raw(service, head, body).status == status
    assert client.get(path_of(customer)).json()["version"] == (2 if status == 200 else 1)


def test_an_absolute_request_target_is_taken(service: Service, client: httpx.Client, group: int) -> None:
    customer = create(client, group)
    answer = send_raw(service, f"GET {service.url}{path_of(customer)} HTTP/1.1")
    assert (answer.status, answer.json()) == (200, customer)


def test_http_1_0_is_answered(service: Service, client: httpx.Client, group: int) -> None:
    customer = create(client, group)
    assert send_raw(service, f"GET {path_of(customer)} HTTP/1.0").json() == customer
