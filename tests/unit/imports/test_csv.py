"""CSV: quoted cells, and cells as values."""

from __future__ import annotations

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
