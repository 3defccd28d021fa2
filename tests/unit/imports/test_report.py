"""A report of rejected rows is a file to import, whatever the rows are."""

from __future__ import annotations

import json

import pytest

from customers.errors import FieldError, InvalidError
from customers.imports.files.report import report_header, report_line
from customers.imports.files.rows import MAX_ROW_BYTES, Layout, Row
from customers.imports.files.values import RowParser
from tests.unit.imports.samples import CUSTOMERS, FORMS, GOOD, HEAD, read, values


@pytest.mark.parametrize("form", ["csv", "csv with semicolons", "json lines", "json array, indented"])
def test_a_report_of_rejected_rows_is_a_file_to_import(form: str) -> None:
    errors = [FieldError(pointer="#/email", code="invalid_email", detail='Must be "valid"; or not,\nat all.')]
    data = FORMS[form]()
    for _ in range(3):
        reader, rows = read(data)
        assert reader.layout is not None
        assert values(reader, rows) == CUSTOMERS
        lines = [report_line(reader.layout, row, errors) for row in rows]
        data = report_header(reader.layout) + b"".join(lines)
        assert data.count(b"import_errors") == (1 if "csv" in form else 500)


@pytest.mark.parametrize("original", [
    b"[1]", b"{}", b'"x"', b"\xff", b'{"a":1', b"1", b"{bad}", b"{'a': 1}", b'{"a":1,}', b'{"a":"\t"}', b'{"a":"\xff"}',
    b'{"a":NaN}', b'{"a":' * 300 + b"1" + b"}" * 300, b'{"a":"\\ud800"}',
])  # fmt: skip
def test_a_report_line_of_anything_is_one_line_of_json(original: bytes) -> None:
    line = report_line(
        Layout("json_lines"), Row(7, original), [FieldError(pointer="#", code="invalid_csv", detail="d")]
    )
    assert line.count(b"\n") == 1
    assert json.loads(line)["import_row"] == 7


@pytest.mark.parametrize("layout", [Layout("json_lines"), Layout("csv", ("first_name",))])
def test_a_report_shows_the_longest_row_whole_and_the_beginning_of_a_longer_one(layout: Layout) -> None:
    whole, cut = (report_line(layout, Row(1, b"x" * length), []) for length in (MAX_ROW_BYTES, MAX_ROW_BYTES + 1))
    assert whole.count(b"x") == MAX_ROW_BYTES
    assert 100 < cut.count(b"x") < 2_000


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ":"])
def test_a_report_is_a_file_to_import_whatever_separates_its_cells(delimiter: str) -> None:
    file = b"sep=,\n" + HEAD + GOOD + b"x\n"
    reader, rows = read(file.replace(b",", delimiter.encode()))
    assert reader.layout is not None
    report = report_header(reader.layout) + b"".join(report_line(reader.layout, row, [ROW]) for row in rows)
    again, found = read(report)
    assert again.broken is None
    assert (len(found), values(again, found)) == (2, values(reader, rows))


@pytest.mark.parametrize("bad", [b'Ann,Doe,ann@example.com,1,"3', b'"Ann,Doe', b'x,"' + b"x" * 70_000, b"x" * 70_000])
def test_a_row_without_an_end_ends_in_the_report(bad: bytes) -> None:
    reader, rows = read(HEAD + bad + b"\n" + GOOD)
    assert reader.layout is not None
    report = report_header(reader.layout) + b"".join(report_line(reader.layout, row, []) for row in rows)
    again, found = read(report)
    assert (again.broken, len(found)) == (None, 2)
    assert len(report) < 2000
    assert bad[:1000].replace(b'"', b'""') in report
    assert again.layout is not None
    assert RowParser(again.layout).value(found[1].original) == RowParser(reader.layout).value(rows[1].original)
    with pytest.raises(InvalidError):
        RowParser(again.layout).parse(found[0].original)


def test_a_row_whose_quotes_stay_open_is_in_the_report_whole() -> None:
    bad = b'Ann,"' + b"x" * 3000
    reader, rows = read(HEAD + bad + b"\n" + GOOD)
    assert reader.layout is not None
    assert bad.replace(b'"', b'""') in report_line(reader.layout, rows[0], [])


EMAIL = FieldError(pointer="#/email", code="invalid_email", detail="Must be “valid”.")
ROW = FieldError(pointer="#", code="invalid_csv", detail="Wrong.")
RENAMED = Layout("json_lines", renamed=(("mail", "email"), ("notes", "")))


@pytest.mark.parametrize(
    ("layout", "original", "errors", "line"),
    [
        (Layout("csv", ("email",), ";"), "jané;x", [EMAIL, ROW], '7;"email: Must be “valid”.; row: Wrong.";jané;x\r\n'),
        (
            Layout("csv", ("import_row", "email", "", "import_errors"), ","),
            '3,"jané",x,old',
            [EMAIL],
            "7,email: Must be “valid”.,jané\r\n",
        ),
        (Layout("csv", ("email",), ","), b"jan\xe9", [ROW], b"7,row: Wrong.,jan\xe9\r\n"),
        (Layout("csv", ("email", ""), ","), b"jan\xe9,x", [ROW], b"7,row: Wrong.,jan\xe9,x\r\n"),
        (Layout("csv", ("email",), ","), b'jan\xe9,"x', [], b'7,"","jan\\xe9,""x"\r\n'),
        (
            Layout("json_lines"),
            '{"email": "jané"}',
            [EMAIL],
            '{"import_row": 7, "import_errors": [' + json.dumps(EMAIL, ensure_ascii=False) + '], "email": "jané"}\n',
        ),
        (
            RENAMED,
            '{"Mail": "jané", "notes": "x", "import_row": 3, "first_name": "Élodie"}',
            [],
            '{"import_row": 7, "import_errors": [], "email": "jané", "first_name": "Élodie"}\n',
        ),
        (
            RENAMED,
            r'{"Mail": "\ud800\u00e9"}',
            [],
            '{"import_row": 7, "import_errors": [], "email": "\\ud800é"}\n',
        ),
        (Layout("json_lines"), b"jan\xe9", [], b'{"import_row": 7, "import_errors": [], "original": "jan\\\\xe9"}\n'),
        (
            Layout("json_array"),
            b'{\r\n"a":\n"\xff"}',
            [],
            b'{"import_row": 7, "import_errors": [], "original": "{ \\"a\\": \\"\\\\xff\\"}"}\n',
        ),
        (
            Layout("json_lines"),
            """{'a': 1, "b": "\t"}""",
            [],
            """{"import_row": 7, "import_errors": [], "original": "{'a': 1, \\"b\\": \\"\\t\\"}"}\n""",
        ),
        (Layout("json_lines"), "{}", [], '{"import_row": 7, "import_errors": []}\n'),
    ],
)
def test_a_report_shows_a_row_as_it_came_with_all_letters_it_had(
    layout: Layout, original: str | bytes, errors: list[FieldError], line: str | bytes
) -> None:
    original, line = (text.encode() if isinstance(text, str) else text for text in (original, line))
    assert report_line(layout, Row(7, original), errors) == line
