"""Tokens: form and checksum alone tell tokens from garbage."""

from __future__ import annotations

import hashlib
import string
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customers.tokens import SCOPES, new_token, token_hash, token_id, token_in

if TYPE_CHECKING:
    import re

    from local.template.stack import Stack

DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
SCHEMES = st.tuples(*(st.sampled_from([c, c.upper()]) for c in "bearer")).map("".join)
TOKENS = st.builds(new_token)


def with_checksum(body: str) -> str:
    """Append a token's checksum as the page linked in the module says: CRC-32 in base 62, six digits."""
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = DIGITS[digit] + digits
    return f"{body}_{digits}"


@pytest.fixture(scope="session")
def gateway_pattern(stack: Stack) -> re.Pattern[str]:
    """Return the pattern that the gateway lets through to the authorizer."""
    (authorizer,) = stack.api.authorizers.values()
    return authorizer.pattern


def test_tokens_are_of_the_form_that_the_gateway_lets_through(gateway_pattern: re.Pattern[str]) -> None:
    for _ in range(1000):
        token = new_token()
        for header in (token, f"Bearer {token}", f"bEaReR   {token}"):
            assert gateway_pattern.fullmatch(header)
            assert token_in(header) == token


@given(token=TOKENS, data=st.data())
def test_what_the_gateway_refuses_is_no_token(
    token: str, data: st.DataObject, gateway_pattern: re.Pattern[str]
) -> None:
    header = data.draw(st.sampled_from([f"Bearer {token}", token]))
    place = data.draw(st.integers(0, len(header)))
    changed = header[:place] + data.draw(st.text(max_size=2)) + header[place + data.draw(st.integers(0, 2)) :]
    if gateway_pattern.fullmatch(changed) is None:
        assert token_in(changed) is None


def test_no_two_tokens_are_equal() -> None:
    assert len({new_token() for _ in range(1000)}) == 1000


@given(SCHEMES, st.integers(1, 5), TOKENS)
def test_a_token_is_taken_with_its_scheme_in_any_case_and_without(scheme: str, spaces: int, token: str) -> None:
    assert token_in(scheme + " " * spaces + token) == token
    assert token_in(token) == token


@pytest.mark.parametrize("form", [
    "", "Bearer", "Bearer ", "Bearer{token}", "Basic {token}", "Bearer Bearer {token}", " {token}", "{token} ",
    "Bearer\t{token}", "Bearer {token}\n", "{token}\n", "Bearer {token}, Bearer {token}", "Bearer, {token}",
])  # fmt: skip
def test_anything_else_around_a_token_is_malformed(form: str) -> None:
    assert token_in(form.format(token=new_token())) is None


def test_the_checksum_is_that_of_the_documented_form() -> None:
    token = new_token()
    assert with_checksum(token.rpartition("_")[0]) == token


def test_any_single_changed_character_is_detected() -> None:
    for _ in range(3):
        token = new_token()
        for place, character in enumerate(token):
            for other in set(DIGITS + "_- .\u017f\u212a\u0660") - {character}:
                assert token_in(token[:place] + other + token[place + 1 :]) is None


@given(TOKENS, st.integers(0, 53))
def test_any_two_exchanged_neighbours_are_detected(token: str, place: int) -> None:
    changed = token[:place] + token[place : place + 2][::-1] + token[place + 2 :]
    assert token_in(changed) == (token if changed == token else None)


@pytest.mark.parametrize("letter", ["\u017f", "\u212a", "\u0130", "\u0131", "\u0660", "\uff10", "-", "_", " "])
def test_only_ascii_letters_and_digits_make_a_token_however_right_the_checksum(letter: str) -> None:
    # Without regard to case, some letters beyond ASCII equal i, k or s.
    assert token_in(with_checksum("cust_" + "a" * 42 + letter)) is None


@pytest.mark.parametrize("body", ["CUST_" + "a" * 43, "cust_" + "a" * 42, "cust_" + "a" * 44, "cust-" + "a" * 43])
def test_a_body_of_another_form_is_malformed_however_right_the_checksum(body: str) -> None:
    assert token_in(with_checksum(body)) is None


@given(st.text() | st.text(st.characters(categories=["Cs", "Lu", "Nd"])) | st.text("bearcust_ 0Az", max_size=70))
def test_an_arbitrary_header_is_malformed_and_never_raises(header: str) -> None:
    assert token_in(header) is None


@given(TOKENS)
def test_a_hash_tells_nothing_of_its_token_and_an_id_nothing_of_the_hash_but_its_beginning(token: str) -> None:
    hashed = token_hash(token)
    assert hashed == hashlib.sha256(token.encode()).hexdigest()
    assert token_id(hashed) == hashed[:16]


def test_scopes_are_those_of_the_contract() -> None:
    assert set(SCOPES) == {"customers:read", "customers:write", "customers:delete", "customers:export"}
