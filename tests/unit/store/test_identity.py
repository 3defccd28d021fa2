"""Values that must always be derived in the same way: each release must find what earlier ones wrote.

A customer is found again only by these values. If one changed, a deployment would create a second customer for each
row, external id and request that comes again, or look for old customers in the wrong place. So never change a value
here to match the code.
"""

from __future__ import annotations

from typing import Final

import pytest

from customers.imports.bucket import FileDelivery, import_identity
from customers.imports.chunks import Chunk
from customers.imports.files.rows import Layout, Row
from customers.store.author import Author
from customers.store.identity import RequestName, Salt, Source, digest
from customers.store.items import Creation, all_key_attributes, new_item
from customers.store.rows import _content

SALT: Final = Salt("a-salt")
NEW: Final[dict[str, object]] = {
    "first_name": "Élodie",
    "last_name": "O\u2019Brien",
    "email": "É.O@Example.com",
    "group_id": 7,
}
ALL: Final = {**NEW, "age": 42, "external_id": "crm-1", "metadata": {"b": "2", "a": "é"}}


@pytest.mark.parametrize(
    ("external_id", "ids", "key_hash"),
    [
        ("crm-1", [6023053889006004, 7273339351260112], "K8bIfhZBCJBJdRWZnrZ7gQ"),
        ("Jané 😀", [6137880852969661, 5557868130072457], "4jBEeCrTPjA0mYXtGpQcMA"),
    ],
)
def test_an_external_id_leads_to_its_customer_for_ever(external_id: str, ids: list[int], key_hash: str) -> None:
    assert [SALT.id(external_id, draw) for draw in (0, 1)] == ids
    assert SALT.key_hash(external_id) == key_hash


@pytest.mark.parametrize(
    ("content", "ids", "content_hash"),
    [
        ("crm-1", [3640909941278474, 252844542119763], "HLQwZy2GPL3K1cTrV5JmXw"),
        ("Jané 😀", [1641056417162440, 3258502207549075], "twNJ4uBgJsgYH4miqOwm5g"),
    ],
)
def test_a_content_leads_to_its_customer_for_ever(content: str, ids: list[int], content_hash: str) -> None:
    assert [SALT.content_id(content, draw) for draw in (0, 1)] == ids
    assert SALT.content_hash(content) == content_hash


def test_a_row_without_a_key_is_known_by_the_same_content_for_ever() -> None:
    known_by = '{"email": "É.O@Example.com", "first_name": "Élodie", "group_id": 7, "last_name": "O\u2019Brien"}'
    assert _content(NEW) == known_by  # type: ignore[arg-type]  # a customer's fields
    # Empty fields of a row do not count, nor does the order of its fields.
    open_ = {"age": None, "metadata": {}, **dict(reversed(NEW.items()))}
    assert _content(open_) == known_by  # type: ignore[arg-type]
    assert _content(ALL) == (  # type: ignore[arg-type]
        '{"age": 42, "email": "É.O@Example.com", "external_id": "crm-1", "first_name": "Élodie", "group_id": 7, '
        '"last_name": "O\u2019Brien", "metadata": {"a": "é", "b": "2"}}'
    )


def test_a_request_leads_to_its_customers_for_ever() -> None:
    request = RequestName("a-name", "a-payload")
    assert [[request.id(index, draw) for draw in (0, 1)] for index in (0, 1)] == [
        [1095138623247079, 4445017036162077],
        [1595953898405986, 4455990006654496],
    ]


@pytest.mark.parametrize(
    ("parts", "digested"),
    [
        (("a",), "DrW41vgbxnfaighWfMT6mg"),
        (("a", "Jané 😀"), "2i2P7vnI1-jF4VXg9ENfLQ"),
        (("a b",), "VB4n_ouXignJ9WO6PA4ZOA"),
    ],
)
def test_an_idempotency_key_has_the_same_digest_for_ever(parts: tuple[str, ...], digested: str) -> None:
    assert digest(*parts) == digested


def test_a_file_and_a_message_are_the_same_import_for_ever() -> None:
    record = {
        "eventTime": "2026-11-26T12:13:14.567Z",
        "s3": {
            "bucket": {"name": "bucket"},
            "object": {"key": "imports/J%C3%A9+1%2B.csv", "eTag": '"abc"', "sequencer": "0055"},
        },
    }
    file = FileDelivery.of_record(record)
    assert file == ("bucket", "imports/Jé 1+.csv", "abc", "2026-11-26T12:13:14.567Z", "0055")
    assert file.import_id == "1a5ed5e1b705429c5950e72acfb0733b"
    assert import_identity("message", "m1") == "a385a4d320822235f549ecca121b82f7"


def test_a_row_is_the_same_write_with_the_same_place_among_others_for_ever() -> None:
    source = Source("an-import", "2026-11-26T12:13:14.567Z")
    assert source.token(12) == "an-import:12"
    assert source.order(12) == "2026-11-26T12:13:14.567Z 0000000012"
    assert source.author(12) == Author(import_id="an-import", row=12)


@pytest.mark.parametrize(
    ("customer_id", "fields", "end", "age"),
    [(4503599627370497, ALL, "\x1f4503599627370497", "042"), (1, NEW, "\x1f0000000000000001", "\U0010ffff")],
)
def test_a_customer_is_in_the_same_place_of_each_order_for_ever(
    customer_id: int, fields: dict[str, object], end: str, age: str
) -> None:
    assert all_key_attributes(fields, customer_id) == {
        "group_id": {"N": "7"},
        "first_name_sort": {"S": f"elodie{end}"},
        "last_name_sort": {"S": f"o'brien{end}"},
        "email_sort": {"S": f"e.o@example.com{end}"},
        "age_sort": {"S": f"{age}{end}"},
        "email_key": {"S": "é.o@example.com"},
    }


def test_a_new_customer_is_the_same_item_for_ever() -> None:
    time = "2026-11-26T12:13:14.567Z"
    author = Author("a-token", "a-request", "an-import", 12)
    creation = Creation(1, time, "a-write", author, 3, "a-hash", {"N": "253402300799"})
    assert new_item(ALL, creation) == {
        **all_key_attributes(ALL, 1),
        "id": {"N": "1"},
        "customer": {
            "M": {
                "first_name": {"S": "Élodie"},
                "last_name": {"S": "O\u2019Brien"},
                "email": {"S": "É.O@Example.com"},
                "group_id": {"N": "7"},
                "age": {"N": "42"},
                "external_id": {"S": "crm-1"},
                "metadata": {"M": {"b": {"S": "2"}, "a": {"S": "é"}}},
            }
        },
        "created_at": {"S": time},
        "created_at_sort": {"S": f"{time}\x1f0000000000000001"},
        "updated_at": {"S": time},
        "order": {"S": time},
        "version": {"N": "3"},
        "created_version": {"N": "3"},
        "create_token": {"S": "a-write"},
        "key_hash": {"S": "a-hash"},
        "passed_over": {"N": "253402300799"},
        "author": {
            "M": {
                "token_id": {"S": "a-token"},
                "request_id": {"S": "a-request"},
                "import_id": {"S": "an-import"},
                "row": {"N": "12"},
            }
        },
    }


def test_a_chunk_that_was_sent_before_a_deployment_is_read_after_it() -> None:
    sent = (
        '{"import_id": "an-import", "chunk": 3, "layout": ["csv", ["email", ""], ";", []], '
        '"put_at": "2026-11-26T12:13:14.567Z", "restore": true, "first_row": 7, "rows": "eAFjYGBgTrROYmBgYPpvDQAKWQI+"}'
    )
    layout = Layout("csv", ("email", ""), ";")
    rows = [Row(7, b"a;b"), Row(8, b"\xff;")]
    chunk = Chunk("an-import", 3, layout, "2026-11-26T12:13:14.567Z", restore=True, rows=rows)
    assert Chunk.of_message(sent) == chunk
    assert Chunk.of_message(chunk.message()) == chunk
