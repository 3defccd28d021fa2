"""CSV: quoted cells, and cells as values."""

from __future__ import annotations

import pytest

from customers.imports.files.rows import Layout
from tests.unit.imports.samples import HEAD, read, values


def test_quoted_cells_may_hold_line_feeds_delimiters_and_quotes() -> None:
    head = b"first_name,last_name,email,group_id\n"
    reader, rows = read(head + b'"a\r\n""b"",\n",5" pipe,e@example.com,1\n\n  \nc,d,e@example.com,2')
    assert values(reader, rows) == [
        {"first_name": 'a\r\n"b",', "last_name": '5" pipe', "email": "e@example.com", "group_id": 1},
        {"first_name": "c", "last_name": "d", "email": "e@example.com", "group_id": 2},
    ]


def test_cells_that_are_no_integers_stay_text_for_the_model_to_refuse() -> None:
    reader, rows = read(HEAD + b"Ann,Doe,ann@example.com,1.5,old\nAnn,Doe,ann@example.com, 7 , 8 \n")
    first, second = values(reader, rows)
    assert (first["group_id"], first["age"]) == ("1.5", "old")
    assert (second["group_id"], second["age"]) == (7, 8)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("first_name,last_name,email", "it lacks 'group_id'."),
        (f"first_name,last_name,email,group_id,{'x' * 51}", f"it has the unknown '{'x' * 50}'."),
        ("first_name,last_name,email,group_id,a,b,c,d,e", "it has the unknown 'a', 'b', 'c', 'd', 'e'."),
        ("first_name,last_name,email,group_id,a,b,c,d,e,f,g", "it has the unknown 'a', 'b', 'c', 'd', 'e' and 2 more."),
        (
            "first_name,email,email,group_id,mail",
            "it lacks 'last_name'; it has the unknown 'mail'; it repeats 'email'.",
        ),
        (
            "first_name,last_name,email,group_id,metadata.b,metadata.b" + ",metadata.a" * 3,
            "it repeats 'metadata.a', 'metadata.b'.",
        ),
    ],
)
def test_a_wrong_header_is_told_with_everything_that_is_wrong_with_it_and_no_more(header: str, told: str) -> None:
    reader, rows = read(f"{header}\n".encode())
    assert rows == []
    assert reader.broken is not None
    reasons, _, _ = reader.broken.detail.partition(" To say which field")
    assert reasons.endswith(f": {told}")


def test_a_file_has_at_most_2000_columns_apart_from_those_without_a_name_at_the_end() -> None:
    entries = "".join(f",metadata.{number}" for number in range(1_996))
    reader, rows = read(f"first_name,last_name,email,group_id{entries},,,\nAnn,Doe,ann@example.com,1,0\n".encode())
    (row,) = values(reader, rows)
    assert row["metadata"] == {"0": "0"}
    reader, rows = read(f"first_name,last_name,email,group_id{entries},age\nAnn,Doe,ann@example.com,1\n".encode())
    assert rows == []
    assert reader.broken is not None
    assert reader.broken.detail == "A file may have at most 2,000 columns; it has 2,001."


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_header_is_known_by_the_columns_and_by_the_names_that_the_file_has(mark: str) -> None:
    names = ("first_name", "Last Name", "EMAIL", "group_id", "metadata.XX")
    header = ";".join(f" {mark}{name}{mark} " for name in names)
    reader, rows = read(f"{header};;\nAnn;Doe;ann@example.com;1;yes\n".encode())
    assert reader.names == names
    assert reader.layout == Layout("csv", ("first_name", "last_name", "email", "group_id", "metadata.XX"), ";")
    assert values(reader, rows) == [
        {"first_name": "Ann", "last_name": "Doe", "email": "ann@example.com", "group_id": 1, "metadata": {"XX": "yes"}}
    ]
