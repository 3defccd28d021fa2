"""The HTTP layer: what it reads from an event, and what it answers, whatever happens."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customers.errors import (
    CustomersError,
    ExternalIdTakenError,
    FieldError,
    ForbiddenError,
    InvalidError,
    KeyReusedError,
    NotFoundError,
    OutcomeUnknownError,
    StillRunningError,
    StoreUnavailableError,
    VersionMismatchError,
)
from customers.http.addresses import location, next_page
from customers.http.endpoint import endpoint
from customers.http.request import (
    MAX_BODY_BYTES,
    PayloadTooLargeError,
    Request,
    Response,
    UnsupportedContentCodingError,
    UnsupportedMediaTypeError,
)
from customers.logs import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from customers.customer import Customer

ROOT: Final = Path(__file__).parents[3]
MAX_ID: Final = 2**53 - 1
CUSTOMER: Final[Customer] = {
    "id": 123,
    "first_name": "John",
    "last_name": "Doe",
    "email": "john.doe@example.com",
    "group_id": 1,
    "age": 42,
    "created_at": "2026-01-02T03:04:05.678Z",
    "updated_at": "2026-01-02T03:04:05.678Z",
    "version": 7,
}


def event(
    headers: Mapping[str, str | list[str]] | None = None,
    query: Mapping[str, str | list[str]] | None = None,
    body: bytes | str | None = None,
    path: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    def lists(values: Mapping[str, str | list[str]] | None) -> dict[str, list[str]] | None:
        # API Gateway sends null if there are none.
        return {name: value if isinstance(value, list) else [value] for name, value in (values or {}).items()} or None

    return {
        "resource": "/api/customers/{customer_id}",
        "path": "/api/customers/123",
        "httpMethod": "PATCH",
        "multiValueHeaders": lists(headers),
        "multiValueQueryStringParameters": lists(query),
        "pathParameters": path,
        "requestContext": {"requestId": "request", "path": "/prod/api/customers/123", "authorizer": {"token_id": "id"}},
        "body": base64.b64encode(body).decode() if isinstance(body, bytes) else body,
        "isBase64Encoded": isinstance(body, bytes),
    }


def request(**parts: Any) -> Request:
    return Request(event(**parts), None)


def errors_of(check: Callable[[], object]) -> list[FieldError]:
    with pytest.raises(InvalidError) as caught:
        check()
    return caught.value.errors


def where_and_code(errors: list[FieldError]) -> list[str]:
    texts = []
    for error in errors:
        (where,) = (value for kind, value in error.items() if kind in {"pointer", "parameter", "header"})
        texts.append(f"{where} {error['code']}")
    return sorted(texts)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Return everything that is logged, as it is written."""
    stream = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", stream)
    yield stream
    for line in stream.getvalue().splitlines():
        json.loads(line)


# Headers


@pytest.mark.parametrize("name", ["If-Match", "if-match", "IF-MATCH", "iF-mAtCh"])
def test_the_case_of_a_header_does_not_matter(name: str) -> None:
    sent = request(headers={name: '"7"'})
    assert sent.header("If-Match") == sent.header("if-match") == '"7"'
    assert sent.expected_versions() == [7]


def test_the_lines_of_a_header_are_one_list() -> None:
    assert request(headers={"If-Match": ['"1"', '"2", "3"']}).expected_versions() == [1, 2, 3]
    assert 7 in request(headers={"If-None-Match": ['"1"', '"7"']}).known_versions()


def test_a_header_that_was_not_sent_is_none() -> None:
    assert request().header("If-Match") is None
    assert request(headers={"If-None-Match": '"7"'}).header("If-Match") is None


@pytest.mark.parametrize(("value", "versions"), [
    ("*", None),
    (" * ", None),
    ('"1"', [1]),
    ('"2", "1"', [1, 2]),
    ('"1","2"', [1, 2]),
    ('"1" , "1"', [1]),
    ('W/"1"', [1]),
    ('W/"1", "2"', [1, 2]),
    ('"1-gzip"', [1]),
    ('W/"1-br", "2-deflate","3-zstd"', [1, 2, 3]),
    ('"1--gzip"', []),
    ('"1-gzip-gzip"', []),
    ('"1-xz"', []),
    ('"1-GZIP"', []),
    ('"gzip"', []),
    (',"1",,\t"2" ,', [1, 2]),
    ('"a,b", "1"', [1]),
    ('""', []),
    ('"0"', []),
    ('"01"', []),
    ('"-1"', []),
    ('"1.0"', []),
    ('"+1"', []),
    ('"\u0661"', []),
    ('"abc"', []),
    ('"*"', []),
    ('"99999999999999999999"', []),
])  # fmt: skip
def test_a_tag_names_a_version_by_its_number(value: str, versions: list[int] | None) -> None:
    sent = request(headers={"If-Match": value, "If-None-Match": value})
    assert sent.expected_versions() == versions
    every = [1, 2, 3]
    assert [version for version in every if version in sent.known_versions()] == (
        every if versions is None else versions
    )
    sent.check()


MALFORMED: Final = [
    "", " ", "1", "3, 4", '"1", 2', '"1" "2"', '"1', '1"', 'w/"1"', 'W/ "1"', 'W/"1', 'foo"1"', '"1"bar', '"1, 2"',
    '"a b"', '*, "1"', '"1", *', "**", '"1\x7f"', '"1"\n', ", ,",
]  # fmt: skip


@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_tag_is_an_error_that_names_the_header(value: str) -> None:
    for header in ("If-Match", "If-None-Match"):
        sent = request(headers={header: value})
        sent.expected_versions()
        sent.known_versions()
        assert where_and_code(errors_of(sent.check)) == [f"{header} invalid_tag"]


def test_a_malformed_tag_is_an_error_also_where_nobody_reads_it() -> None:
    assert where_and_code(errors_of(request(headers={"If-None-Match": "3", "If-Match": "3"}).check)) == [
        "If-Match invalid_tag",
        "If-None-Match invalid_tag",
    ]
    sent = request(headers={"If-None-Match": "3"})
    sent.expected_existence()
    assert where_and_code(errors_of(sent.check)) == ["If-None-Match invalid_tag"]
    request(headers={"If-None-Match": '"3"', "If-Match": "*"}).check()


def test_tags_are_read_in_time_proportional_to_their_length() -> None:
    for part in (" ", ",", '"1",', "\t ", 'W/"', '"1" '):
        began = time.perf_counter()
        request(headers={"If-Match": part * 100_000}).expected_versions()
        assert time.perf_counter() - began < 2


def test_without_if_match_any_version_will_do() -> None:
    assert request().expected_versions() is None


@given(st.text() | st.text('"W/*, 0123456789', max_size=40))
def test_an_arbitrary_if_match_names_versions_or_none_and_never_raises(value: str) -> None:
    versions = request(headers={"If-Match": value}).expected_versions()
    assert versions is None or all(f'"{version}' in value for version in versions)
    assert (versions is None) == (value.strip(" \t") == "*")


@given(st.sets(st.integers(1, 10**6), min_size=1, max_size=90))
def test_if_match_takes_up_to_ninety_tags(versions: set[int]) -> None:
    value = ", ".join(f'"{version}"' for version in versions)
    assert request(headers={"If-Match": value}).expected_versions() == sorted(versions)


def test_more_tags_in_if_match_are_an_error() -> None:
    sent = request(headers={"If-Match": ", ".join(f'"{version}"' for version in range(1, 92))})
    sent.expected_versions()
    assert where_and_code(errors_of(sent.check)) == ["If-Match too_many_tags"]


def test_without_if_none_match_the_caller_has_nothing() -> None:
    assert 7 not in request(headers={"If-Match": '"7"'}).known_versions()


@given(st.text())
def test_an_arbitrary_if_none_match_never_raises(value: str) -> None:
    assert (7 in request(headers={"If-None-Match": value}).known_versions()) in {True, False}


@pytest.mark.parametrize("key", ["a", "!~", "a" * 255, "00000000-0000-4000-8000-00000000c0de"])
def test_a_visible_idempotency_key_is_taken_as_it_is(key: str) -> None:
    sent = request(headers={"idempotency-key": key})
    assert sent.idempotency_key() == key
    sent.check()


@pytest.mark.parametrize("key", ["", " ", "a b", "a\t", "a" * 256, "\u00e9", "\x7f", ["a", "b"]])
def test_any_other_idempotency_key_is_an_error(key: str | list[str]) -> None:
    sent = request(headers={"Idempotency-Key": key})
    assert sent.idempotency_key() is None
    assert where_and_code(errors_of(sent.check)) == ["Idempotency-Key invalid_key"]


def with_preconditions(headers: dict[str, str]) -> Request:
    sent = request(headers=headers)
    sent.expected_versions()
    sent.expected_existence()
    sent.idempotency_key()
    return sent


NO_TAGS: Final = 'Must be * or a list of entity tags, in quotes as ETag has them: "3".'
ONLY_STAR: Final = "Must be *, which means: create only."
NOT_BOTH: Final = "If-Match and If-None-Match contradict each other. Send one of them."


@pytest.mark.parametrize(("headers", "errors"), [
    ({"If-Match": "3"}, [FieldError(header="If-Match", code="invalid_tag", detail=NO_TAGS)]),
    (
        {"If-Match": ", ".join(f'"{version}"' for version in range(1, 92))},
        [FieldError(header="If-Match", code="too_many_tags", detail="Must name at most 90 tags.")],
    ),
    ({"If-None-Match": '"3"'}, [FieldError(header="If-None-Match", code="invalid_tag", detail=ONLY_STAR)]),
    (
        {"If-Match": '"3"', "If-None-Match": "*"},
        [FieldError(header="If-None-Match", code="not_together", detail=NOT_BOTH)],
    ),
    (
        {"If-Match": "*", "If-None-Match": '"3"'},
        [
            FieldError(header="If-None-Match", code="invalid_tag", detail=ONLY_STAR),
            FieldError(header="If-None-Match", code="not_together", detail=NOT_BOTH),
        ],
    ),
    (
        {"Idempotency-Key": "a b"},
        [
            FieldError(
                header="Idempotency-Key", code="invalid_key", detail="Must have 1 to 255 visible ASCII characters."
            )
        ],
    ),
])  # fmt: skip
def test_a_wrong_header_is_told_with_its_name_its_code_and_what_is_right(
    headers: dict[str, str], errors: list[FieldError]
) -> None:
    assert errors_of(with_preconditions(headers).check) == errors


@pytest.mark.parametrize(("headers", "exists"), [
    ({}, None),
    ({"If-Match": "*"}, True),
    ({"If-Match": '"3"'}, True),
    ({"If-None-Match": "*"}, False),
    ({"If-None-Match": " * "}, False),
])  # fmt: skip
def test_if_match_wants_a_customer_that_exists_and_if_none_match_one_that_does_not(
    headers: dict[str, str],
    exists: bool | None,  # noqa: FBT001 (a table's column)
) -> None:
    sent = with_preconditions(headers)
    assert sent.expected_existence() is exists
    sent.check()


# Parameters


def test_parameters_have_their_defaults_when_they_are_not_sent() -> None:
    sent = request()
    assert sent.choice("sort", ("id", "email")) == "id"
    assert sent.flag("age") is False
    assert sent.integer("limit", 1, 1000, default=100) == 100
    assert sent.text("cursor") is None
    sent.check()


def test_parameters_are_taken_as_sent() -> None:
    sent = request(query={"sort": "email", "age": "true", "limit": "1000", "cursor": "a"})
    assert sent.choice("sort", ("id", "email")) == "email"
    assert sent.flag("age") is True
    assert sent.integer("limit", 1, 1000, default=100) == 1000
    assert sent.text("cursor") == "a"
    sent.check()


@given(st.text() | st.text("0123456789+-_. \u0661"))
def test_an_integer_is_written_in_ascii_digits_and_within_its_range(value: str) -> None:
    sent = request(query={"limit": value})
    limit = sent.integer("limit", 1, 1000, default=100)
    if value.isascii() and value.isdecimal() and 1 <= int(value) <= 1000:
        assert limit == int(value)
        sent.check()
    else:
        assert where_and_code(errors_of(sent.check)) == ["limit not_in_range"]


@pytest.mark.parametrize("value", ["", "True", "TRUE", "1", "yes", " true", "null"])
def test_a_flag_is_true_or_false_and_nothing_else(value: str) -> None:
    sent = request(query={"age": value})
    sent.flag("age")
    assert where_and_code(errors_of(sent.check)) == ["age not_a_choice"]


@pytest.mark.parametrize("value", ["", "ID", "id ", "idx", "id,email"])
def test_a_choice_is_one_of_its_words(value: str) -> None:
    sent = request(query={"sort": value})
    sent.choice("sort", ("id", "email"))
    assert where_and_code(errors_of(sent.check)) == ["sort not_a_choice"]


def test_all_that_is_wrong_is_told_at_once_wherever_it_is() -> None:
    sent = request(
        headers={"Idempotency-Key": "not visible"},
        query={"size": "some", "dry_run": "maybe", "limit": ["1", "2"], "expand": "all", "": "x"},
        body=b"{",
    )
    sent.choice("size", ("one", "list"))
    sent.flag("dry_run")
    sent.integer("limit", 1, 9, default=1)
    sent.idempotency_key()
    assert where_and_code(errors_of(lambda: sent.body(lambda value: value))) == sorted([
        " unknown_parameter",
        "# invalid_json",
        "Idempotency-Key invalid_key",
        "dry_run not_a_choice",
        "expand unknown_parameter",
        "limit repeated_parameter",
        "size not_a_choice",
    ])  # fmt: skip


def test_a_wrong_parameter_is_told_with_its_name_its_code_and_what_is_right() -> None:
    sent = request(query={"size": "some", "dry_run": "maybe", "limit": "0", "cursor": ["a", "b"], "expand": "all"})
    sent.choice("size", ("one", "list"))
    sent.flag("dry_run")
    sent.integer("limit", 1, 1000, default=100)
    sent.text("cursor")
    assert errors_of(sent.check) == [
        {"parameter": "size", "code": "not_a_choice", "detail": "Must be one of: one, list."},
        {"parameter": "dry_run", "code": "not_a_choice", "detail": "Must be one of: false, true."},
        {"parameter": "limit", "code": "not_in_range", "detail": "Must be an integer from 1 to 1000."},
        {"parameter": "cursor", "code": "repeated_parameter", "detail": "Must not be repeated."},
        {"parameter": "expand", "code": "unknown_parameter", "detail": "There is no such parameter."},
    ]


@pytest.mark.parametrize(("refused", "error", "text"), [
    (
        lambda: body_of(request(headers={"Content-Type": "text/plain"})),
        UnsupportedMediaTypeError,
        "Send the body as application/json, in UTF-8.",
    ),
    (
        lambda: body_of(request(headers={"Content-Type": "text/plain"}), merge_patch=True),
        UnsupportedMediaTypeError,
        "Send the body as application/json or application/merge-patch+json, in UTF-8.",
    ),
    (
        lambda: body_of(request(body=b" " * (MAX_BODY_BYTES + 1))),
        PayloadTooLargeError,
        "The body must have at most 1048576 bytes.",
    ),
    (
        lambda: request(path={"customer_id": "0"}).id_in_path("customer_id"),
        NotFoundError,
        "An id is an integer from 1 to 2^53 - 1.",
    ),
    (
        lambda: request(path={"external_id": "-"}).external_id_in_path(),
        NotFoundError,
        "An external id has 1 to 128 characters from A-Z a-z 0-9 . _ ~ -, the first a letter or digit.",
    ),
    (
        lambda: request().require_scope("customers:export"),
        ForbiddenError,
        "The token lacks the scope customers:export.",
    ),
], ids=["media type", "media type of a patch", "size", "id", "external id", "scope"])  # fmt: skip
def test_what_is_refused_as_a_whole_says_what_is_right(
    refused: Callable[[], object], error: type[CustomersError], text: str
) -> None:
    with pytest.raises(error) as caught:
        refused()
    assert str(caught.value) == text


@pytest.mark.parametrize("value", ["1", "123", str(MAX_ID)])
def test_an_id_in_the_path_is_a_positive_integer(value: str) -> None:
    assert request(path={"customer_id": value}).id_in_path("customer_id") == int(value)


@given(st.text() | st.text("0123456789+-._ \n\u0661") | st.integers(min_value=MAX_ID + 1).map(str))
def test_anything_else_in_the_path_is_not_found(value: str) -> None:
    if value.isascii() and value.isdecimal() and not value.startswith("0") and int(value) <= MAX_ID:
        return
    with pytest.raises(NotFoundError):
        request(path={"customer_id": value}).id_in_path("customer_id")


# Bodies


def body_of(sent: Request, *, merge_patch: bool = False) -> Any:
    return sent.body(lambda value: value, merge_patch=merge_patch)


@pytest.mark.parametrize("media_type", [
    None,
    "application/json",
    "Application/JSON",
    "application/json; charset=utf-8",
    "application/json;charset=UTF-8",
    'application/json; charset="utf-8"',
    "application/json ; charset=utf8",
    "application/json;",
    "application/json; odata=verbose",
    "application/json; version=1; charset=utf-8",
    " application/json",
    "",
])  # fmt: skip
def test_json_is_taken_however_its_type_is_written(media_type: str | None) -> None:
    headers = {} if media_type is None else {"content-type": media_type}
    for body in (b'{"a": "\xc3\xa9"}', '{"a": "\u00e9"}'):
        assert body_of(request(headers=headers, body=body)) == {"a": "\u00e9"}


@pytest.mark.parametrize("media_type", [
    "text/plain",
    "application/xml",
    "application/jsonp",
    "application/json-patch+json",
    "application/problem+json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json; charset=latin-1",
    "application/json, text/plain",
    "json",
    "*/*",
    ";",
])  # fmt: skip
@pytest.mark.parametrize("merge_patch", [False, True])
def test_another_media_type_is_not_read(media_type: str, merge_patch: bool) -> None:  # noqa: FBT001 (a table's column)
    with pytest.raises(UnsupportedMediaTypeError):
        body_of(request(headers={"Content-Type": media_type}, body=b"{}"), merge_patch=merge_patch)


@pytest.mark.parametrize("media_type", ["application/merge-patch+json", "application/Merge-Patch+JSON; charset=UTF-8"])
def test_a_merge_patch_is_taken_where_one_is_due(media_type: str) -> None:
    sent = event(headers={"Content-Type": media_type}, body=b"{}")
    assert body_of(Request(sent, None), merge_patch=True) == {}
    with pytest.raises(UnsupportedMediaTypeError):
        body_of(Request(sent, None))


@given(st.text(max_size=60) | st.text('aj/+;= "\tcharsetjsonutf-8', max_size=60))
def test_an_arbitrary_media_type_is_judged_in_no_time_and_never_raises_anything_else(media_type: str) -> None:
    try:
        assert body_of(request(headers={"Content-Type": media_type}, body=b"{}")) == {}
    except UnsupportedMediaTypeError:
        return


def test_the_size_of_a_body_counts_its_bytes() -> None:
    longest = json.dumps("\u00e9" * ((MAX_BODY_BYTES - 2) // 2), ensure_ascii=False).encode()
    assert len(longest) == MAX_BODY_BYTES
    assert body_of(request(body=longest))
    assert body_of(request(body=longest.decode()))
    for body in (longest + b" ", longest.decode() + " "):
        with pytest.raises(PayloadTooLargeError):
            body_of(request(body=body))


@pytest.mark.parametrize("body", [None, b"", "", b"\xff", "\udcff", '"\udcff"', b"\x00"])
def test_a_body_that_is_no_json_is_an_error_of_the_whole_body(body: bytes | str | None) -> None:
    assert where_and_code(errors_of(lambda: body_of(request(body=body)))) == ["# invalid_json"]


def test_a_request_is_known_by_what_it_asks_for() -> None:
    asked = event(query={"size": "list", "on_error": "keep"}, body=b"{}")
    other_order = event(query={"on_error": "keep", "size": "list"}, body="{}", headers={"X-Other": "1"})
    assert Request(asked, None).fingerprint() == Request(other_order, None).fingerprint()
    others = [
        event(query={"size": "list"}, body=b"{}"),
        event(query={"size": "list", "on_error": ["keep", "keep"]}, body=b"{}"),
        event(query={"size": "list", "on_error": "keep"}, body=b"{ }"),
        event(query={"size": "list", "on_error": "keep"}),
        {**asked, "httpMethod": "POST"},
    ]
    assert len({Request(one, None).fingerprint() for one in [asked, *others]}) == 1 + len(others)


# Answers


ALWAYS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def answer_to(
    error: Exception | None = None, response: Response | None = None, path: Mapping[str, str] | None = None
) -> dict[str, Any]:
    @endpoint
    def handle(_request: Request) -> Response:
        if error is not None:
            raise error
        assert response is not None
        return response

    return handle(event(path=path), None)


TAKEN: Final = "Another customer has this external id. To create or replace, use PUT with the external id."
STILL_RUNNING: Final = (
    "A request with this Idempotency-Key is still running. Repeat it after the seconds in Retry-After."
)
MISMATCH: Final = "The customer is not in the state that If-Match or If-None-Match expects. Read it again."
REUSED: Final = "This Idempotency-Key was used for another request. Use a new key for each request."
UNAVAILABLE: Final = "The store does not respond right now. Repeat the call after the seconds in Retry-After."
UNKNOWN: Final = (
    "The store did not confirm the change, which may have been made. "
    "After the seconds in Retry-After, look whether it was, then decide whether to repeat the call."
)
CHOICE: Final = FieldError(parameter="a", code="not_a_choice", detail="C.")
PROBLEMS: Final[list[tuple[CustomersError, int, str, str, str, dict[str, str]]]] = [
    (InvalidError([CHOICE]), 400, "invalid-request", "Invalid request", "See errors for everything that is wrong.", {}),
    (ForbiddenError("The token lacks a scope."), 403, "forbidden", "Forbidden", "The token lacks a scope.", {}),
    (NotFoundError("There is no such customer."), 404, "not-found", "Not found", "There is no such customer.", {}),
    (ExternalIdTakenError({0: 7}), 409, "external-id-taken", "External id taken", TAKEN, {}),
    (ExternalIdTakenError({0: 7, 3: 8}, listed=True), 409, "external-id-taken", "External id taken", TAKEN, {}),
    (StillRunningError(), 409, "still-running", "Still running", STILL_RUNNING, {"Retry-After": "1"}),
    (VersionMismatchError(7), 412, "version-mismatch", "Version mismatch", MISMATCH, {"ETag": '"7"'}),
    (VersionMismatchError(None), 412, "version-mismatch", "Version mismatch", MISMATCH, {}),
    (PayloadTooLargeError("Too much."), 413, "payload-too-large", "Payload too large", "Too much.", {}),
    (UnsupportedMediaTypeError("JSON."), 415, "unsupported-media-type", "Unsupported media type", "JSON.", {}),
    (
        UnsupportedContentCodingError(),
        415,
        "unsupported-media-type",
        "Unsupported media type",
        "Send the body without Content-Encoding.",
        {"Accept-Encoding": "identity"},
    ),
    (KeyReusedError(), 422, "key-reused", "Idempotency key reused", REUSED, {}),
    (StoreUnavailableError(), 503, "unavailable", "Service unavailable", UNAVAILABLE, {"Retry-After": "1"}),
    (OutcomeUnknownError(), 503, "unavailable", "Service unavailable", UNKNOWN, {"Retry-After": "1"}),
]


def more_members(error: CustomersError) -> dict[str, Any]:
    if isinstance(error, ExternalIdTakenError):
        return {"errors": error.errors} if error.listed else {"errors": error.errors, "customer_id": 7}
    return {"errors": error.errors} if isinstance(error, InvalidError) else {}


def test_a_taken_external_id_is_answered_with_its_holder() -> None:
    one = json.loads(answer_to(ExternalIdTakenError({0: 7}))["body"])
    assert one["customer_id"] == 7
    assert [(error["pointer"], error["code"], error["customer_id"]) for error in one["errors"]] == [
        ("#/external_id", "taken", 7)
    ]
    many = json.loads(answer_to(ExternalIdTakenError({0: 7, 3: 8}, listed=True))["body"])
    assert [(error["pointer"], error["customer_id"]) for error in many["errors"]] == [
        ("#/customers/0/external_id", 7),
        ("#/customers/3/external_id", 8),
    ]


def subclasses(parent: type[Exception]) -> set[type[Exception]]:
    return {parent} | {one for child in parent.__subclasses__() for one in subclasses(child)}


def test_every_error_of_the_service_has_its_problem() -> None:
    of_the_service = {one for one in subclasses(CustomersError) if one.__module__.startswith("customers.")}
    # What can go wrong with an import, or inside the store, never reaches HTTP.
    inside = ("customers.import", "customers.store")
    of_the_api = {one for one in of_the_service if not one.__module__.startswith(inside)}
    assert of_the_api - {CustomersError} == {type(error) for error, *_ in PROBLEMS}


@pytest.mark.parametrize(
    ("error", "status", "name", "title", "detail", "headers"), PROBLEMS, ids=[one[2] for one in PROBLEMS]
)
def test_an_error_is_answered_with_its_problem(  # noqa: PLR0913, PLR0917 (the members of a problem)
    error: CustomersError,
    status: int,
    name: str,
    title: str,
    detail: str,
    headers: dict[str, str],
    log: io.StringIO,
) -> None:
    answer = answer_to(error)
    assert answer["statusCode"] == status
    assert answer["headers"] == {
        "X-Request-Id": "request", **ALWAYS, "Content-Type": "application/problem+json", **headers,
    }  # fmt: skip
    assert json.loads(answer["body"]) == {
        "type": f"/problems/{name}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": "/prod/api/customers/123",
        "request_id": "request",
        **more_members(error),
    }
    assert f'"status":{status}' in log.getvalue()


class SecretError(Exception):
    """Carries what nobody may see."""


class OtherCustomersError(CustomersError):
    """An error of the service that nobody foresaw."""


@pytest.mark.parametrize("kind", [SecretError, OtherCustomersError, KeyError, RecursionError, UnicodeError])
def test_the_unforeseen_is_500_and_its_text_is_neither_shown_nor_logged(
    kind: type[Exception], log: io.StringIO
) -> None:
    cause = ValueError("john.doe@example.com in a cause")
    error = kind("john.doe@example.com in CustomersTable")
    error.__cause__ = cause
    answer = answer_to(error)
    assert answer["statusCode"] == 500
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    assert json.loads(answer["body"]) == {
        "type": "/problems/internal-error",
        "title": "Internal error",
        "status": 500,
        "detail": "The service failed. Repeat the call later; if it fails again, report the request_id.",
        "instance": "/prod/api/customers/123",
        "request_id": "request",
    }
    for secret in ("john", "example.com", "CustomersTable", "Traceback"):
        assert secret not in answer["body"]
        assert secret not in log.getvalue()
    assert kind.__name__ not in answer["body"]
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    (logged,) = (line for line in lines if line["level"] == "ERROR")
    assert logged["exception_type"] == kind.__name__
    assert logged["request_id"] == "request"
    assert any("handle" in frame for frame in logged["frames"])


@pytest.mark.parametrize("kind", [StoreUnavailableError, OutcomeUnknownError])
def test_why_the_store_is_unavailable_is_logged_by_its_kind_and_not_by_its_text(
    kind: type[StoreUnavailableError], log: io.StringIO
) -> None:
    error = kind("john.doe@example.com in CustomersTable")
    error.__cause__ = ConnectionError("john.doe@example.com in a cause")
    answer = answer_to(error)
    assert answer["statusCode"] == 503
    (logged,) = (line for line in map(json.loads, log.getvalue().splitlines()) if line["level"] == "WARNING")
    assert (logged["message"], logged["request_id"]) == ("store unavailable", "request")
    assert logged["cause"] == "ConnectionError"
    for secret in ("john", "example.com", "CustomersTable"):
        assert secret not in answer["body"]
        assert secret not in log.getvalue()


def test_a_call_is_logged_once_without_what_it_was_about(log: io.StringIO) -> None:
    answer_to(response=Response(200, CUSTOMER))
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    # The first call of a process also logs a cold start.
    (line,) = (line for line in lines if line["message"] != "cold start")
    assert line["route"] == "PATCH /api/customers/{customer_id}"
    assert (line["status"], line["request_id"], line["token_id"]) == (200, "request", "id")
    assert 0 <= line["Latency"] < 1000
    assert "john" not in log.getvalue().lower()


@pytest.mark.parametrize(
    ("path", "body", "logged"),
    [
        ({"customer_id": "123"}, None, 123),
        ({"external_id": "shop-42"}, CUSTOMER, 123),
        (None, CUSTOMER, 123),
        ({"customer_id": "<script>"}, None, None),
        ({"group_id": "7"}, {"customers": [CUSTOMER]}, None),
        (None, {"id": "john.doe@example.com"}, None),
    ],
)
def test_a_call_about_one_customer_is_logged_with_its_id(
    log: io.StringIO, path: dict[str, str] | None, body: Any, logged: int | None
) -> None:
    answer_to(response=Response(200, body), path=path)
    line = next(line for line in map(json.loads, log.getvalue().splitlines()) if line["message"] == "request")
    assert line.get("customer_id") == logged


@pytest.mark.usefixtures("log")
def test_an_answer_is_json_in_utf_8_with_its_request_id() -> None:
    answer = answer_to(response=Response(200, {"name": "\u00c9lodie \U0001f600"}, {"ETag": '"1"'}))
    assert answer == {
        "statusCode": 200,
        "headers": {"X-Request-Id": "request", **ALWAYS, "ETag": '"1"', "Content-Type": "application/json"},
        "body": '{"name":"\u00c9lodie \U0001f600"}',
    }


@pytest.mark.usefixtures("log")
def test_an_answer_without_a_body_has_no_type() -> None:
    answer = answer_to(response=Response(304, headers={"ETag": '"1"'}))
    assert answer["body"] == ""
    assert answer["headers"] == {"X-Request-Id": "request", **ALWAYS, "ETag": '"1"'}


@pytest.mark.usefixtures("log")
def test_head_is_answered_like_get_but_for_the_body() -> None:
    @endpoint
    def handle(_request: Request) -> Response:
        return Response(200, CUSTOMER, {"ETag": '"7"'})

    get, head = ({**event(), "httpMethod": method} for method in ("GET", "HEAD"))
    assert json.loads(handle(get, None)["body"]) == CUSTOMER
    assert handle(head, None) == {**handle(get, None), "body": ""}


@pytest.mark.parametrize(("path", "full_path", "shown"), [
    ("/api/customers/1", "/prod/api/customers/1", "/prod/api/customers/1"),
    ("/api/customers/1/", "/prod/api/customers/1/", "/prod/api/customers/1/"),
    ("/api/customers/1", "/api/customers/1", "/api/customers/1"),
    ("/api/customers/1", "/api/customers/{customer_id}", "/api/customers/1"),
    ("/api/customers/1", None, "/api/customers/1"),
])  # fmt: skip
def test_the_path_is_shown_as_the_client_sent_it(path: str, full_path: str | None, shown: str) -> None:
    sent = event()
    sent["path"] = path
    sent["requestContext"]["path"] = full_path
    assert Request(sent, None).path == shown


def test_an_instance_is_a_uri_reference_whatever_was_sent() -> None:
    for path, instance in [
        ("/api/customers/1", "/api/customers/1"),
        ('/api/<b>/\u00e9 "{}|^`\\', "/api/%3Cb%3E/%C3%A9%20%22%7B%7D%7C%5E%60%5C"),
        ("/api/%7B%zz%4", "/api/%7B%25zz%254"),
        ("//elsewhere.example:port/", "/.//elsewhere.example:port/"),
        ("/a?b#c[d]", "/a%3Fb%23c%5Bd%5D"),
    ]:
        sent = event()
        sent["path"] = sent["requestContext"]["path"] = path
        assert Request(sent, None).instance == instance


# Pages from other origins


OURS: Final = "https://app.example.com"
VARY: Final = {"Vary": "Origin"}
SHARED: Final = {
    "Access-Control-Allow-Origin": OURS,
    "Access-Control-Expose-Headers": (
        "Accept-Encoding, ETag, Idempotency-Replayed, Link, Location, Retry-After, X-Request-Id"
    ),
}


@pytest.mark.parametrize(("origins", "origin", "added"), [
    ({OURS}, OURS, {**VARY, **SHARED}),
    ({OURS, "http://localhost:5173"}, OURS, {**VARY, **SHARED}),
    ({OURS}, "https://elsewhere.example", VARY),
    ({OURS}, OURS.upper(), VARY),
    ({OURS}, "null", VARY),
    ({OURS}, None, VARY),
    (set(), OURS, {}),
    (set(), None, {}),
])  # fmt: skip
@pytest.mark.usefixtures("log")
def test_a_page_of_an_origin_that_is_allowed_sees_answers_and_errors_and_no_other_page_does(
    origins: set[str], origin: str | None, added: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customers.http.endpoint._ORIGINS", frozenset(origins))

    @endpoint
    def handle(sent: Request) -> Response:
        sent.check()
        return Response(200, CUSTOMER)

    headers = {} if origin is None else {"origin": origin}
    for sent, status in ((event(headers=headers), 200), (event(headers=headers, query={"expand": "all"}), 400)):
        answer = handle(sent, None)
        assert answer["statusCode"] == status
        content_type = "application/json" if status == 200 else "application/problem+json"
        assert answer["headers"] == {"X-Request-Id": "request", **ALWAYS, **added, "Content-Type": content_type}


# Links


def link_of(host: str, monkeypatch: pytest.MonkeyPatch, public_url: str = "") -> str:
    monkeypatch.setattr("customers.http.addresses._PUBLIC_URL", public_url)
    claimed = {"Host": "elsewhere.example", "X-Forwarded-Host": "elsewhere.example", "X-Forwarded-Proto": "ftp"}
    sent = event(headers={**claimed, "Forwarded": "host=elsewhere.example"}, query={"sort": "age", "cursor": "old"})
    sent["requestContext"]["domainName"] = host
    return next_page(Request(sent, None), "a+b")["Link"]


@pytest.mark.parametrize(("host", "public_url", "address"), [
    ("abc.execute-api.us-east-1.amazonaws.com", "", "https://abc.execute-api.us-east-1.amazonaws.com/prod"),
    ("127.0.0.1:3000", "", "http://127.0.0.1:3000/prod"),
    ("127.0.0.1:3000", "https://example.com/crm", "https://example.com/crm"),
])  # fmt: skip
def test_a_link_begins_with_the_gateways_own_address_or_the_public_one(
    host: str, public_url: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = link_of(host, monkeypatch, public_url)
    assert link == f'<{address}/api/customers/123?sort=age&cursor=a%2Bb>; rel="next"'


@pytest.mark.parametrize(("public_url", "base"), [
    ("", "/prod/api/customers"),
    ("https://example.com/crm", "https://example.com/crm/api/customers"),
])  # fmt: skip
@pytest.mark.parametrize(("path", "below"), [
    ("/api/customers", 0),
    ("/api/customers/", 0),
    ("/api/customers/external/y%7E1", 2),
    ("/api/customers/external/y%7E1/", 2),
])  # fmt: skip
def test_a_location_is_the_customers_address_under_the_path_as_it_was_sent(
    path: str, below: int, public_url: str, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customers.http.addresses._PUBLIC_URL", public_url)
    sent = event() | {"path": path}
    sent["requestContext"]["path"] = f"/prod{path}"
    assert location(Request(sent, None), 7, below=below) == {"Location": f"{base}/7"}


# Compressed bodies


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "deflate", "identity, gzip", "x-unknown"])
def test_a_compressed_body_is_not_read(coding: str) -> None:
    for read in (body_of, Request.check_media_type):
        with pytest.raises(UnsupportedContentCodingError):
            read(request(headers={"Content-Encoding": coding}, body=b"{}"))


@pytest.mark.parametrize("coding", ["identity", "Identity", "", "identity, identity"])
def test_a_body_that_only_says_it_is_not_compressed_is_read(coding: str) -> None:
    assert body_of(request(headers={"Content-Encoding": coding}, body=b"{}")) == {}


# Imports, each in its own interpreter


def modules_after(program: str) -> set[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "layers" / "customers"),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "CUSTOMERS_TABLE": "customers",
        "TOKENS_TABLE": "tokens",
        "ANSWERS_TABLE": "answers",
    }
    program += "\nimport sys; print(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True, cwd=ROOT
    )
    return set(done.stdout.splitlines()[-1].split())


def roots(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def test_the_model_knows_nothing_of_aws_or_of_http() -> None:
    modules = modules_after("import customers.model; customers.model.new_customer")
    assert "pydantic_core" in modules
    assert not roots(modules) & {"boto3", "botocore", "s3transfer", "aws_lambda_powertools", "urllib3"}
    assert not modules & {"customers.http", "customers.store", "customers.aws"}


@pytest.mark.parametrize("module", ["email_address", "errors", "http.cursor", "ids", "tokens"])
def test_the_rest_of_the_domain_needs_the_standard_library_alone(module: str) -> None:
    modules = modules_after(f"import customers.{module}")
    assert not roots(modules) & {"boto3", "botocore", "aws_lambda_powertools", "pydantic", "email_validator"}
