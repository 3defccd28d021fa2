"""Sort texts: one order, the contract's, and never longer than a sort key may be."""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customers.fields import Field
from customers.ids import MAX_ID
from customers.store.sorting import fold, id_of, sort_end, sort_text

if TYPE_CHECKING:
    from datetime import datetime

MAX_KEY_BYTES = 1024
NAME = Field("name", "str", required=False, fixed=False, sorts=True, on_request=False, maximum=0)
AGE = Field("age", "int", required=False, fixed=False, sorts=True, on_request=False, maximum=150)
# What a name or an address may contain: no control characters, no lone surrogates.
VALUES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=100)
NEAR = st.text("aAáÁbeéßﬁ ~\u0301\u00a0\u200b", max_size=4)
IDS = st.integers(1, MAX_ID) | st.sampled_from([1, 9, 10, 99, 100, MAX_ID])


def by_text(text: str | None, customer_id: int) -> str:
    return sort_text(NAME, text) + sort_end(customer_id)


def by_age(age: int | None, customer_id: int) -> str:
    return sort_text(AGE, age) + sort_end(customer_id)


def sign(one: Any, other: Any) -> int:
    return int(one > other) - int(one < other)


@given(VALUES | NEAR, IDS, VALUES | NEAR, IDS)
def test_texts_sort_by_their_folded_form_and_then_by_id(one: str, one_id: int, other: str, other_id: int) -> None:
    texts = sign(by_text(one, one_id), by_text(other, other_id))
    assert texts == sign((fold(one), one_id), (fold(other), other_id))


@given(VALUES, VALUES, IDS, IDS)
def test_what_a_text_begins_with_sorts_before_it(text: str, rest: str, one_id: int, other_id: int) -> None:
    whole = fold(text) + fold(rest)
    if fold(rest) and len(whole.encode()) <= 1007:
        assert by_text(fold(text), one_id) < by_text(whole, other_id)


@given(VALUES | NEAR, IDS, VALUES | NEAR, IDS)
def test_bytes_sort_as_code_points_do(one: str, one_id: int, other: str, other_id: int) -> None:
    # DynamoDB compares UTF-8 bytes, Python compares code points.
    first, second = by_text(one, one_id), by_text(other, other_id)
    assert sign(first.encode(), second.encode()) == sign(first, second)


# The characters with the longest foldings, and characters of every length in UTF-8.
LONG = st.text(st.sampled_from("\ufdfa\ufdfb\u3316a\u00e9\u4e2d\U0001f600\U0001d400"), min_size=50, max_size=254)


@given(LONG | VALUES, IDS)
def test_a_sort_text_is_never_longer_than_a_sort_key_may_be(text: str, customer_id: int) -> None:
    key = by_text(text, customer_id)
    assert len(key.encode()) <= MAX_KEY_BYTES
    assert id_of(key) == customer_id


@given(LONG, IDS)
def test_a_text_too_long_sorts_by_what_it_begins_with(text: str, customer_id: int) -> None:
    value = by_text(text, customer_id)[:-17]
    assert fold(text).startswith(value)
    # It is cut after the last character that fits, and no earlier.
    assert value == fold(text) or len(value.encode()) > 1007 - 4


@pytest.mark.parametrize(("text", "folded"), [
    ("Élodie", "elodie"),
    ("ELODIE", "elodie"),
    ("Straße", "strasse"),
    ("STRASSE", "strasse"),
    ("ﬁn", "fin"),
    ("Ångström", "angstrom"),
    ("\u212bngstro\u0308m", "angstrom"),
    ("Σίσυφος", "σισυφοσ"),
    ("İstanbul", "istanbul"),
    ("Nguyễn", "nguyen"),
    ("Łukasz", "lukasz"),
    ("Øyvind", "oyvind"),
    ("Đorđe", "dorde"),
    ("\u0131sparta", "isparta"),
    ("ISPARTA", "isparta"),
    ("Æsir", "aesir"),
    ("Ǿ", "o"),
    ("Þórr", "thorr"),
    ("Œuvre", "oeuvre"),
    ("Guðrún", "gudrun"),
    ("\ua7a0er\ua7a7is \ua741", "gerris k"),
    ("O\u2019Brien", "o'brien"),
    ("\u02bbOkina", "'okina"),
    ("\u201cAnn\u201d", "'ann'"),
    ("Əli", "əli"),
    ("\uff21\uff22", "ab"),
    ("中", "中"),
    ("", ""),
])  # fmt: skip
def test_text_is_folded_as_the_contract_says(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_every_latin_letter_with_something_to_it_folds_to_its_base_letter() -> None:
    letters = {
        chr(point): match[1].lower()
        for point in range(0x80, 0x20000)
        if (match := re.match(r"LATIN (?:SMALL|CAPITAL) LETTER ([A-Z]|AE|OE) WITH ", unicodedata.name(chr(point), "")))
    }
    assert len(letters) > 500
    assert {letter: fold(letter) for letter, base in letters.items() if not fold(letter).startswith(base)} == {}


@given(VALUES)
def test_case_does_not_count(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    ascii_only = text.encode("ascii", "ignore").decode()
    assert fold(ascii_only.upper()) == fold(ascii_only.lower()) == fold(ascii_only)


@given(VALUES, st.integers(0, 99), st.sampled_from("\u0300\u0301\u0308\u0323\u0327"))
def test_accents_do_not_count(text: str, place: int, accent: str) -> None:
    assert fold(text[:place] + accent + text[place:]) == fold(text)


@given(VALUES)
def test_composed_and_decomposed_text_are_the_same(text: str) -> None:
    forms = {fold(unicodedata.normalize(form, text)) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    assert forms == {fold(text)}


def test_no_character_folds_to_one_that_sorts_below_the_separator() -> None:
    characters = map(chr, range(sys.maxunicode + 1))
    allowed = "".join(character for character in characters if unicodedata.category(character) not in {"Cc", "Cs"})
    assert min(fold(allowed)) > "\x1f"


@given(VALUES, IDS, IDS)
def test_no_text_sorts_last(text: str, one_id: int, other_id: int) -> None:
    # The last code point is not a character, and no one's name begins with it.
    if not fold(text).startswith("\U0010ffff"):
        assert by_text(text, one_id) < by_text(None, other_id)


AGES = st.none() | st.integers(0, 150)


@given(AGES, IDS, AGES, IDS)
def test_ages_sort_as_numbers_then_by_id_and_no_age_comes_last(
    one: int | None, one_id: int, other: int | None, other_id: int
) -> None:
    numbers = [(float("inf") if age is None else age, customer_id) for age, customer_id in [
        (one, one_id), (other, other_id),
    ]]  # fmt: skip
    assert sign(by_age(one, one_id), by_age(other, other_id)) == sign(*numbers)
    assert id_of(by_age(one, one_id)) == one_id


@given(st.datetimes(), IDS, st.datetimes(), IDS)
def test_times_sort_as_times_and_then_by_id(one: datetime, one_id: int, other: datetime, other_id: int) -> None:
    first, second = (time.replace(microsecond=time.microsecond // 1000 * 1000) for time in (one, other))
    texts = [
        f"{time.isoformat(timespec='milliseconds')}Z" + sort_end(customer_id)
        for time, customer_id in ((one, one_id), (other, other_id))
    ]
    assert sign(*texts) == sign((first, one_id), (second, other_id))
