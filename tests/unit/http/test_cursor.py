"""Cursors: opaque, unforgeable, and good for one walk only."""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from customers.http.cursor import CursorSealer


def with_keys(*keys: str) -> CursorSealer:
    return CursorSealer(lambda: keys)


SEALER = with_keys("key")
WALK = "1 last_name asc"
ALPHABET = string.ascii_letters + string.digits + "-_"
# A lone surrogate cannot be stored, and so cannot be a position.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXTS, TEXTS)
def test_a_cursor_opens_to_what_was_sealed(position: str, walk: str) -> None:
    assert SEALER.open(SEALER.seal(position, walk), walk) == position


@given(TEXTS)
def test_a_cursor_goes_into_a_url_as_it_is(position: str) -> None:
    assert set(SEALER.seal(position, WALK)) <= set(ALPHABET)


@given(TEXTS, TEXTS, TEXTS)
def test_a_cursor_opens_for_its_own_walk_only(position: str, walk: str, other: str) -> None:
    assume(walk != other)
    assert SEALER.open(SEALER.seal(position, walk), other) is None


@given(TEXTS, st.text(string.ascii_letters, min_size=1))
def test_what_a_position_begins_with_cannot_be_moved_into_the_walk(walk: str, position: str) -> None:
    # If you know the position, you know the key stream, and can encrypt the rest of the position for the same tag.
    raw = base64.urlsafe_b64decode(SEALER.seal(position, walk) + "==")
    tag, sealed = raw[: -len(position)], raw[-len(position) :]
    for moved in range(1, len(position) + 1):
        stream = bytes(one ^ other for one, other in zip(sealed, position.encode(), strict=True))
        rest = bytes(one ^ other for one, other in zip(stream, position[moved:].encode(), strict=False))
        forged = base64.urlsafe_b64encode(tag + rest).rstrip(b"=").decode()
        assert SEALER.open(forged, walk + position[:moved]) is None


@given(TEXTS, TEXTS, TEXTS)
def test_a_cursor_opens_with_its_own_key_only(position: str, key: str, other: str) -> None:
    assume(key != other)
    assert with_keys(other).open(with_keys(key).seal(position, WALK), WALK) is None


@given(TEXTS, st.data())
def test_a_changed_cursor_does_not_open(position: str, data: st.DataObject) -> None:
    cursor = SEALER.seal(position, WALK)
    place = data.draw(st.integers(0, len(cursor) - 1))
    character = data.draw(st.characters())
    changed = data.draw(
        st.sampled_from([
            cursor[:place] + character + cursor[place + 1 :],
            cursor[:place] + character + cursor[place:],
            cursor[:place] + cursor[place + 1 :],
            cursor[:place],
            cursor[place:],
            cursor + character,
            cursor + "=" * data.draw(st.integers(1, 4)),
        ])
    )  # fmt: skip
    assume(changed != cursor)
    assert SEALER.open(changed, WALK) is None


def test_no_other_character_at_any_place_makes_a_cursor_that_opens() -> None:
    # Including those that only set the spare bits of base64, or belong to its other alphabet.
    for position in ("123", "doe\x1f0000000000000123", "d\u00f6\x1f0000000000000123"):
        cursor = SEALER.seal(position, WALK)
        for place in range(len(cursor)):
            for character in ALPHABET + "+/=. \n":
                changed = cursor[:place] + character + cursor[place + 1 :]
                assert (SEALER.open(changed, WALK) is None) == (changed != cursor)


@given(st.text(ALPHABET + "+/= ") | st.text() | st.text(st.characters(categories=["Cs", "Ll"])))
def test_an_arbitrary_text_is_no_cursor(text: str) -> None:
    assert SEALER.open(text, WALK) is None


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_no_cursor(raw: bytes) -> None:
    assert SEALER.open(base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), WALK) is None


@given(st.text(string.ascii_letters, min_size=6))
def test_a_cursor_does_not_show_what_it_holds(position: str) -> None:
    cursor = SEALER.seal(position, WALK)
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    for place in range(len(position) - 3):
        part = position[place : place + 4].encode()
        assert part not in raw
        assert base64.urlsafe_b64encode(part)[:4] not in cursor.encode()


def test_equal_beginnings_do_not_make_equal_cursors() -> None:
    one, other = (SEALER.seal(f"doe\x1f{number:016d}", WALK) for number in (1, 2))
    same = sum(first == second for first, second in zip(one, other, strict=True))
    assert same < len(one) / 3


def test_after_a_rotation_new_cursors_have_the_new_key_and_old_ones_still_open() -> None:
    old = SEALER.seal("123", WALK)
    rotated = with_keys("new", "key")
    assert rotated.open(old, WALK) == "123"
    assert rotated.seal("123", WALK) == with_keys("new").seal("123", WALK) != old


def test_a_cursor_sealed_before_an_update_opens_after_it() -> None:
    # Clients keep cursors. So every later version must open what this one seals, and the other way round.
    position, cursor = "d\u00f6\x1f0000000000000123", "9gLYy80BmQkHknSBP-BlD2loS8TxB-g8BAE6NfVfP69hThHF"
    sealer = with_keys("key")
    assert sealer.open(cursor, WALK) == position
    assert sealer.seal(position, WALK) == cursor


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("customers.http.cursor.time.monotonic", lambda: now[0])
    return now


class Keys:
    """Counts how often the keys are read."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys
        self.reads = 0

    def read(self) -> tuple[str, ...]:
        self.reads += 1
        return self.keys


def test_the_keys_are_read_when_a_cursor_is_met_or_made_and_then_kept_for_five_minutes(clock: list[float]) -> None:
    keys = Keys("key")
    sealer = CursorSealer(keys.read)
    assert sealer.open("not a cursor", WALK) is None
    assert keys.reads == 0
    cursor = sealer.seal("123", WALK)
    clock[0] += 299
    assert sealer.open(cursor, WALK) == "123"
    assert keys.reads == 1
    keys.keys = ("other",)
    clock[0] += 2
    assert sealer.open(cursor, WALK) is None
    assert keys.reads == 2


def test_a_cursor_of_a_key_that_was_made_meanwhile_opens(clock: list[float]) -> None:
    keys = Keys("key")
    sealer = CursorSealer(keys.read)
    sealer.seal("123", WALK)
    keys.keys = ("new", "key")
    clock[0] += 2
    assert sealer.open(with_keys("new").seal("124", WALK), WALK) == "124"


def test_forged_cursors_make_it_read_the_keys_once_a_second_at_most(clock: list[float]) -> None:
    keys = Keys("key")
    sealer = CursorSealer(keys.read)
    forged = with_keys("forger's").seal("123", WALK)
    for _ in range(10):
        assert sealer.open(forged, WALK) is None
    assert keys.reads == 1
    clock[0] += 2
    for _ in range(10):
        assert sealer.open(forged, WALK) is None
    assert keys.reads == 2


def test_what_is_not_utf_8_is_no_cursor_even_with_the_key() -> None:
    class NotUtf8(str):
        __slots__ = ()

        def encode(self, *_: object) -> bytes:
            return b"\xff"

    assert SEALER.open(SEALER.seal(NotUtf8(), WALK), WALK) is None
