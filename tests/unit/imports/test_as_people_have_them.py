"""Files as spreadsheets, exports and people write them: each becomes the customers that its author meant."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from customers.errors import InvalidError
from customers.imports.files.mapping import ColumnMapping, MappingError, mapping_metadata
from customers.imports.files.reader import RowReader
from customers.imports.files.report import report_header, report_line
from customers.imports.files.values import RowParser
from tests.unit.imports.samples import GOOD, HEAD, ITEM, read

BOM = b"\xef\xbb\xbf"
SHORT = b"first_name,last_name,email,group_id\n"


def person(name: str, **other: Any) -> dict[str, Any]:
    return {"first_name": name, "last_name": "Ash", "email": f"{name.lower()}@example.com", "group_id": 1, **other}


ANN, BOB = person("Ann"), person("Bob")


def imported(data: bytes, mapping: ColumnMapping | None = None) -> list[Any]:
    """Return what a file's rows become: a customer, or the codes of its errors."""
    reader, rows = read(data, mapping)
    assert reader.broken is None, reader.broken
    assert reader.layout is not None
    parser = RowParser(reader.layout)
    found: list[Any] = []
    for row in rows:
        try:
            found.append(parser.parse(row.original).customer)
        except InvalidError as error:
            found.append([error["code"] for error in error.errors])
    return found


ROWS = b"Ann,Ash,ann@example.com,1\nBob,Ash,bob@example.com,1\n"
SAME_TWO: dict[str, bytes] = {
    "CR": (SHORT + ROWS).replace(b"\n", b"\r"),
    "CR without a last one": (SHORT + ROWS).strip().replace(b"\n", b"\r"),
    "CRLF": (SHORT + ROWS).replace(b"\n", b"\r\n"),
    "CR CRLF": (SHORT + ROWS).replace(b"\n", b"\r\r\n"),
    "mixed ends": SHORT + b"Ann,Ash,ann@example.com,1\rBob,Ash,bob@example.com,1\r\n",
    "many bytes with CR": (SHORT + ROWS.replace(b"\n", b"\n" * 70_000)).replace(b"\n", b"\r"),
    "byte order marks": BOM * 2 + SHORT + BOM + ROWS,
    "a byte order mark before the last row": SHORT + ROWS.replace(b"Bob", BOM * 3 + b"Bob"),
    "a byte order mark before a quoted cell": SHORT + ROWS.replace(b"Bob", BOM + b'"Bob"'),
    "a byte order mark on a line of its own": SHORT + BOM + b"\n" + ROWS + BOM,
    "spaces after commas": (SHORT + ROWS).replace(b",", b", "),
    "spaces around commas and quotation marks": (SHORT + ROWS).replace(b",Ash ,", b' , "Ash" , '),
    "quoted with spaces": SHORT + b'"Ann", "Ash", "ann@example.com", 1\n "Bob" ,Ash,"bob@example.com" , "1" \n',
    "no-break spaces": (SHORT + ROWS).replace(b",", b"\xc2\xa0,\xc2\xa0"),
    "rows of delimiters": SHORT + b",,,\n" + ROWS + b",,,\r\n , ,\t, \n,\n,,,,,,,,,",
    "rows of quoted nothing": SHORT + b'"","","",""\n' + ROWS + b'"", "" ,"",""\n',
    "rows of delimiters before the header": b",,,\n\n ,, ,\n" + SHORT + ROWS,
    "surplus cells at the end": (SHORT + ROWS).replace(b"\n", b",,\n"),
    "surplus cells in the rows alone": SHORT + ROWS.replace(b"\n", b",, ,\n"),
    "surplus quoted cells": (SHORT + ROWS).replace(b"\n", b',"", \n'),
    "fewer cells": b"first_name,last_name,email,group_id,age\n" + ROWS,
    "a sep line": b"sep=;\r\n" + (SHORT + ROWS).replace(b",", b";"),
    "a sep line in capitals, quoted, after a mark": BOM + b'"SEP=;"\n' + (SHORT + ROWS).replace(b",", b";"),
    "a sep line with a tab": b"sep=\t\n" + (SHORT + ROWS).replace(b",", b"\t"),
    "a sep line with another delimiter": b"sep=|\r" + (SHORT + ROWS).replace(b",", b"|").replace(b"\n", b"\r"),
    "a sep line with the usual one": b"sep=,\n\n" + SHORT + ROWS,
    "a sep line as wide as the table": b"sep=;;;;\n" + (SHORT + ROWS).replace(b",", b";"),
    "a sep line with spaces, quoted": b'"sep=|"||  \n' + (SHORT + ROWS).replace(b",", b"|"),
    "a sep line above a byte order mark": b"sep=;\n" + BOM * 2 + (SHORT + ROWS).replace(b",", b";"),
    "a sep line below blank lines": b"\n" * 20 + b"sep=;\n" + (SHORT + ROWS).replace(b",", b";"),
    "names with spaces": b"First Name,Last Name,Email,Group ID\n" + ROWS,
    "names in camel case": b"firstName,lastName,eMail,groupId\n" + ROWS,
    "names with hyphens": b"first-name,LAST-NAME,E-mail,group-id\n" + ROWS,
    "names in Pascal case": b"FirstName, LastName ,EMAIL,GroupID\n" + ROWS,
    "names with no-break spaces": "First\xa0Name,Last  Name,\ufeffe mail,group_ID\n".encode() + ROWS,
    "service columns": b"created_at,updated_at,import_row,import_errors,"
    + SHORT
    + ROWS.replace(b"A", b",,7,x,A", 1).replace(b"B", b"2020,2021,8,y,B", 1),
    "service columns, twice": b"created_at,Created At,import_row,"
    + SHORT[:-1]
    + b",import_row\n"
    + ROWS.replace(b"A", b",,7,A", 1).replace(b"B", b"2020,2021,8,B", 1),
    "a whole number with a fraction": SHORT + ROWS.replace(b",1\n", b",1.0\n"),
    "an id and a version": b"id,Version," + SHORT + b"C-4503599627370496,1," + ROWS.replace(b"\n", b"\n,,", 1),
}


@pytest.mark.parametrize("kind", SAME_TWO)
def test_two_people_are_two_customers_however_their_csv_is_written(kind: str) -> None:
    for data in (SAME_TWO[kind], gzip.compress(SAME_TWO[kind])):
        found = imported(data)
        assert [{name: value for name, value in one.items() if name in ANN} for one in found] == [ANN, BOB]


PRETTY: dict[str, bytes] = {
    "over several lines": ITEM.replace(b",", b",\n  ").replace(b"{", b"{\n  ").replace(b"}", b"\n}"),
    "with CRLF": ITEM.replace(b",", b",\r\n\t").replace(b"{", b"{\r\n").replace(b"}", b"\r\n}\r\n"),
    "with CR": ITEM.replace(b",", b",\r") + b"\r",
    "with blank lines in it": ITEM.replace(b",", b"\n\n,\n\n"),
    "with brackets in its texts": ITEM.replace(b"Doe", b"{Doe}}").replace(b",", b",\n"),
    "with its value on the next line": ITEM.replace(b":", b":\n"),
    "after a byte order mark": BOM + ITEM.replace(b",", b",\n"),
    "nearly as long as a row may be": ITEM.replace(b",", b"," + b" " * 20_000 + b"\n"),
}


@pytest.mark.parametrize("kind", PRETTY)
def test_a_json_object_over_several_lines_is_one_customer(kind: str) -> None:
    pretty = PRETTY[kind]
    assert [one["first_name"] for one in imported(pretty)] == ["Ann"]
    for data in (pretty + b"\n" + pretty, pretty + b"\n" + ITEM, ITEM + b"\n" + pretty, pretty + b"\n\n" + BOM + ITEM):
        assert [one["email"] for one in imported(data)] == ["ann@example.com"] * 2


CUT_LINES: dict[str, bytes] = {
    "in a text": b'{"first_name":"Ann","last_na',
    "in an object": b'{"first_name":"Ann",',
    "before a value": b'{"first_name":',
    "after a value": b'{"first_name":"Ann"',
    "in a nested object": b'{"metadata":{"a":"b",',
    "after the opening": b"{",
    "in a list": b'{"a":["b",',
}


@pytest.mark.parametrize("kind", CUT_LINES)
def test_a_json_line_that_is_cut_off_takes_no_other_with_it(kind: str) -> None:
    data = ITEM + b"\n" + CUT_LINES[kind] + b"\n" + ITEM + b"\n" + ITEM + b"\n"
    found = imported(data)
    assert [one if isinstance(one, list) else one["first_name"] for one in found] == [
        "Ann",
        ["invalid_json"],
        "Ann",
        "Ann",
    ]
    assert len(imported(ITEM + b"\n" + CUT_LINES[kind])) == 2


def test_commas_after_json_lines_are_named() -> None:
    reader, rows = read((ITEM + b",\n") * 2)
    assert reader.layout is not None
    with pytest.raises(InvalidError) as raised:
        RowParser(reader.layout).parse(rows[0].original)
    assert "remove it" in raised.value.errors[0]["detail"]
    assert len(rows) == 2


HELPFUL: dict[str, tuple[bytes, str, str]] = {
    "an unknown column": (b"Phone number," + SHORT, "wrong_header", "--map 'Phone number=FIELD'"),
    "how to ignore it": (b"phone," + SHORT, "wrong_header", "--ignore phone"),
    "without the command": (b"phone," + SHORT, "wrong_header", "x-amz-meta-ignore"),
    "a column without a name": (b"," + SHORT, "wrong_header", "--ignore ''"),
    "a key that metadata cannot have": (b"metadata.a b," + SHORT, "wrong_header", "'metadata.a b'"),
    "the same field in two spellings": (b"E-mail," + SHORT, "wrong_header", "repeats 'email'"),
    "Windows-1252": ("Prénom,".encode("cp1252") + SHORT, "not_text", "Windows-1252"),
    "a line break in the header": (b'"First\nName",last_name,email,group_id\n', "wrong_header", "line break"),
    "the delimiter line names another": (b"sep=;\n" + SHORT, "wrong_header", "lacks 'first_name'"),
}


@pytest.mark.parametrize("kind", HELPFUL)
def test_a_file_whose_header_is_wrong_says_what_to_do(kind: str) -> None:
    data, code, words = HELPFUL[kind]
    reader, rows = read(data + ROWS)
    assert rows == []
    assert reader.broken is not None
    assert reader.broken.code == code
    assert words in reader.broken.detail


@pytest.mark.parametrize("column", [b"id", b"ID", b"Id"])
@pytest.mark.parametrize(
    ("cell", "id_"),
    [
        (b"C-4503599627370496", 4503599627370496),
        (b"4503599627370496", 4503599627370496),
        (b" 12 ", 12),
        (b"", None),
        (b"  ", None),
    ],
)
def test_an_id_is_read_with_its_prefix_and_without(column: bytes, cell: bytes, id_: int | None) -> None:
    reader, rows = read(column + b"," + SHORT + cell + b"," + ROWS)
    assert reader.layout is not None
    assert RowParser(reader.layout).parse(rows[0].original).id == id_


@pytest.mark.parametrize(
    "cell", [b"4.5036E+15", b"abc", b"0", b"-1", b"9007199254740992", b"C4", b"c-4", b"1 2", b"\xd9\xa1"]
)
def test_any_other_id_rejects_the_row_beside_its_other_errors(cell: bytes) -> None:
    assert imported(b"id," + SHORT + cell + b",Ann,Ash,nobody,1\n") == [["invalid_id", "invalid_email"]]
    assert imported(b"id," + SHORT + cell + b"," + ROWS)[0] == ["invalid_id"]


@pytest.mark.parametrize(("member", "expected"), [(b"7", 7), (b'"C-7"', 7), (b'"7"', 7), (b"null", None), (b"7.0", 7)])
def test_an_id_in_json_is_a_number_or_a_text(member: bytes, expected: int | None) -> None:
    reader, rows = read(ITEM.replace(b"{", b'{"id":%s,"version":2,' % member))
    assert reader.layout is not None
    row = RowParser(reader.layout).parse(rows[0].original)
    assert (row.id, row.version) == (expected, 2)


@pytest.mark.parametrize("member", [b"true", b"[]", b"7.5", b'""', b"-1"])
def test_any_other_id_in_json_rejects_the_row(member: bytes) -> None:
    assert imported(ITEM.replace(b"{", b'{"id":%s,' % member)) == [["invalid_id"]]


def test_an_unreadable_version_rejects_the_row() -> None:
    assert imported(b"version," + SHORT + b"three," + ROWS)[0] == ["invalid_version"]


@pytest.mark.parametrize("cell", [b"3", b"3.0", b"3.", b" 3.00 "])
def test_a_version_may_be_written_as_programs_write_whole_numbers(cell: bytes) -> None:
    reader, rows = read(b"version," + SHORT + cell + b"," + ROWS)
    assert reader.layout is not None
    assert RowParser(reader.layout).parse(rows[0].original).version == 3
    assert imported(b"version," + SHORT + cell.replace(b"3", b"3.5", 1) + b"," + ROWS)[0] == ["invalid_version"]


@pytest.mark.parametrize("separator", "\x1c\x1d\x1e\x1f")
def test_what_post_refuses_at_the_end_of_a_name_is_not_trimmed_either(separator: str) -> None:
    # Python takes these for white space; Unicode does not.
    row = f"Ann{separator},Ash,ann@example.com,1\n".encode()
    assert imported(SHORT + row) == [["control_character"]]
    assert imported(ITEM.replace(b"Ann", f"Ann\\u{ord(separator):04x}".encode())) == [["control_character"]]


def test_a_column_can_be_mapped_and_others_left_out() -> None:
    mapping = ColumnMapping.of_words(["Mail=email", "Given name = firstName"], ["Notes", ""])
    data = b"given name,Last Name,MAIL,Notes,Group ID,\nAnn,Ash,ann@example.com,secret,1,x\n"
    assert imported(data, mapping) == [ANN]
    json_data = b'{"Given name":"Ann","last_name":"Ash","Mail":"ann@example.com","group_id":1,"Notes":[1]}'
    assert imported(json_data, mapping) == [ANN]


def test_a_mapped_member_beside_the_field_itself_is_not_lost() -> None:
    mapping = ColumnMapping.of_words(["Mail=email"], [])
    assert imported(ITEM.replace(b"{", b'{"Mail":"other@example.com",'), mapping) == [["unknown_field"]]


@pytest.mark.parametrize("word", ["email", "Mail=", "Mail=mail", "Mail=created_at", "Mail=metadata.", "=x"])
def test_a_mapping_to_what_is_no_field_is_refused(word: str) -> None:
    with pytest.raises(MappingError):
        ColumnMapping.of_words([word], [])


@pytest.mark.parametrize(
    ("words", "ignored"),
    [(["Mail=email"], ["mail"]), (["Mail=email", "MAIL=first_name"], []), (["Mail=metadata.a", "Mail=metadata.b"], [])],
)
def test_words_about_a_column_that_contradict_each_other_are_refused(words: list[str], ignored: list[str]) -> None:
    with pytest.raises(MappingError) as refused:
        ColumnMapping.of_words(words, ignored)
    assert "twice, in different ways" in refused.value.detail
    assert ColumnMapping.of_words(["Mail=email", "mail=E-mail"], ["a", "A"])


def test_a_mapping_survives_as_metadata_of_an_object() -> None:
    words, ignored = ["Mail, private=email", "a=b=first_name", "Prénom %=last_name"], ["Notes", "a,b", "日本"]
    metadata = mapping_metadata(words, ignored)
    assert all(value.isascii() for value in metadata.values())
    assert ColumnMapping.of_metadata(metadata) == ColumnMapping.of_words(words, ignored)
    assert mapping_metadata([], []) == {}
    unnamed = mapping_metadata([], [""])
    assert ColumnMapping.of_metadata(unnamed) == ColumnMapping.of_words([], [""]) != ColumnMapping()
    assert ColumnMapping.of_metadata({"map": " Mail=email, ", "ignore": "Notes,,"}) == ColumnMapping.of_words(
        ["Mail=email"], ["Notes"]
    )
    assert ColumnMapping.of_metadata({"map": "", "ignore": " "}) == ColumnMapping()
    assert ColumnMapping.of_metadata({"map": "Mail=email, Vorname = first_name"}) == ColumnMapping.of_words(
        ["Mail=email", "Vorname=first_name"], []
    )


@pytest.mark.parametrize(
    ("cell", "entry"),
    [
        (b"gold", "gold"),
        (b"  two spaces ", "  two spaces "),
        (b'" in quotes "', " in quotes "),
        (b' "space around quotes" ', "space around quotes"),
        (b'""', ""),
        (b'"a, ""b"""', 'a, "b"'),
        (b"", None),
    ],
)
def test_a_metadata_column_sets_an_entry_as_it_is_written(cell: bytes, entry: str | None) -> None:
    for place in (
        b"metadata.Plan-1," + SHORT + cell + b"," + ROWS.replace(b"Bob", b",Bob"),
        SHORT.strip() + b",METADATA.Plan-1\n" + ROWS.replace(b"\n", b"," + cell + b"\n", 1),
    ):
        first, second = imported(place)
        assert first == {**ANN, "metadata": {} if entry is None else {"Plan-1": entry}}
        assert second == {**BOB, "metadata": {}}


def test_metadata_columns_obey_the_rules_of_metadata() -> None:
    many = b"".join(b"metadata.k%d," % number for number in range(21))
    assert imported(many + SHORT + b"x," * 21 + ROWS)[0] == ["too_many_entries"]
    assert imported(b"metadata.a," + SHORT + b"x" * 501 + b"," + ROWS.replace(b"Bob", b",Bob")) == [
        ["too_long"],
        {**BOB, "metadata": {}},
    ]


def test_a_json_member_can_become_an_entry_of_the_metadata() -> None:
    mapping = ColumnMapping.of_words(["Plan=metadata.plan"], [])
    plain = ITEM.replace(b"{", b'{"plan":"gold",', 1)
    assert imported(plain, mapping)[0]["metadata"] == {"plan": "gold"}
    both = plain.replace(b"{", b'{"metadata":{"a":"b"},', 1)
    assert imported(both, mapping)[0]["metadata"] == {"a": "b", "plan": "gold"}


def test_an_external_id_is_a_field_like_any_other() -> None:
    assert imported(b"External ID," + SHORT + b" crm-1 ," + ROWS.replace(b"Bob", b",Bob")) == [
        {**ANN, "external_id": "crm-1"},
        {**BOB, "external_id": None},
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"Given name,Last Name,Mail,Notes,Group ID\nAnn,Ash,nobody,secret,1\n",
        b'{"Given name":"Ann","last_name":"Ash","Mail":"nobody","group_id":1,"Notes":[1]}',
    ],
)
def test_a_report_can_be_imported_without_the_mapping_of_its_file(data: bytes) -> None:
    reader, rows = read(data, ColumnMapping.of_words(["Mail=email", "Given name=first_name"], ["Notes"]))
    assert reader.layout is not None
    report = report_header(reader.layout) + report_line(reader.layout, rows[0], [])
    assert imported(report.replace(b"nobody", b"ann@example.com")) == [ANN]


def test_a_csv_report_begins_with_a_byte_order_mark_for_excel() -> None:
    reader, _ = read(HEAD + GOOD)
    assert reader.layout is not None
    assert report_header(reader.layout).startswith(BOM + b"import_row,")


def test_a_position_holds_what_the_caller_said_about_the_columns() -> None:
    mapping = ColumnMapping.of_words(["Mail=email"], [])
    reader, rows = read(SHORT.replace(b"email", b"Mail") + ROWS, mapping)
    layout = reader.position_at(reader.offset, reader.rows).layout
    assert layout.columns == ("first_name", "last_name", "email", "group_id")
    assert len(rows) == 2
    assert isinstance(reader, RowReader)
