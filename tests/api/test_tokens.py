"""Tokens from the command line to the gateway, with the authorizer's cache on."""

from __future__ import annotations

import json
import os
import random
import re
import string
import subprocess
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from customers.tokens import new_token
from tests.conftest import ROOT, running_service, tokens_kept
from tests.sending import sent_through

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Handler, Service

CACHE_SECONDS = 2
BETWEEN = 1
"""Seconds that a busy machine may take from looking up a token to putting the answer into the cache."""
TOKEN = re.compile(r"cust_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}")
READ, WRITE, DELETE = ("GET", "/api/customers/1"), ("PATCH", "/api/customers/1"), ("DELETE", "/api/customers/1")


@pytest.fixture(scope="module")
def cached_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("tokens")
    with running_service(data, "--in-memory", "--parameter", f"AuthorizerCacheSeconds={CACHE_SECONDS}") as running:
        yield running


def _customers(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "customers", *arguments],
        env={**os.environ, "DATA_DIR": str(service.data)},
        capture_output=True,
        text=True,
        check=False,
    )


def _make(service: Service, *options: str, scopes: str = "read,write,delete") -> str:
    done = _customers(service, "token", "create", "--scopes", scopes, "--label", "a test", *options)
    assert done.returncode == 0, done.stderr
    assert TOKEN.fullmatch(done.stdout.strip()), "the token alone is on standard output"
    assert done.stdout.strip() not in done.stderr
    return done.stdout.strip()


def _listed(service: Service, token: str) -> dict[str, Any]:
    done = _customers(service, "token", "list", "--json")
    assert token not in done.stdout
    name = _id(token)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    (row,) = [row for row in rows if row["id"] == name]
    return row


def _id(token: str) -> str:
    from customers.tokens import token_hash, token_id  # noqa: PLC0415

    return token_id(token_hash(token))


def _status(service: Service, token: str, call: tuple[str, str] = READ) -> int:
    method, path = call
    headers = {"Authorization": f"Bearer {token}"}
    body = {"age": 1} if method == "PATCH" else None
    return httpx.request(method, service.url + path, headers=headers, json=body, timeout=40).status_code


def _last_let_in(service: Service, token: str, refused: int, call: tuple[str, str] = READ) -> float:
    """Call until a call is refused. Return the time when the last accepted call was sent, or 0 if there was none."""
    last = 0.0
    deadline = time.time() + 60
    while True:
        sent = time.time()
        if _status(service, token, call) == refused:
            return last
        assert sent < deadline
        last = sent


def _rotate(service: Service, token: str, *options: str) -> tuple[str, float]:
    """Rotate a token. Return its successor, and when the old one ends according to the command."""
    done = _customers(service, "token", "rotate", _id(token), *options)
    assert done.returncode == 0, done.stderr
    found = re.search(rf"{_id(token)} ends at (.+)Z\.", done.stderr)
    assert found is not None, done.stderr
    return done.stdout.strip(), datetime.fromisoformat(f"{found[1]}+00:00").timestamp()


def test_a_rotated_token_and_its_successor_both_work_during_the_overlap(cached_service: Service) -> None:
    old = _make(cached_service, "--expires", "30d")
    before = time.time()
    new, end = _rotate(cached_service, old, "--overlap", "1h")
    assert int(before) + 3600 <= end <= time.time() + 3600
    assert _status(cached_service, old) == _status(cached_service, new) == 404
    assert "ends at" in _listed(cached_service, old)["state"]
    successor = _listed(cached_service, new)
    assert (successor["state"], successor["label"]) == ("valid", "a test")
    made, expires = (datetime.fromisoformat(successor[name]) for name in ("created", "expires"))
    assert expires - made == timedelta(days=30), "the new one is valid as long as the old one was"


def test_a_rotated_token_is_refused_once_its_overlap_has_ended_and_its_successor_works(cached_service: Service) -> None:
    old = _make(cached_service)
    new, end = _rotate(cached_service, old, "--overlap", "3s")
    last = _last_let_in(cached_service, old, 401)
    assert time.time() >= end, "not before"
    assert last <= end + CACHE_SECONDS + BETWEEN
    assert _status(cached_service, new) == 404
    assert _listed(cached_service, old)["state"] == "revoked"


@pytest.mark.parametrize("scopes", ["read", "write", "delete", "read,delete"])
def test_the_successor_of_a_token_may_do_what_the_token_might_and_nothing_else(
    cached_service: Service, scopes: str
) -> None:
    old = _make(cached_service, scopes=scopes)
    new, _ = _rotate(cached_service, old)
    assert _listed(cached_service, new)["scopes"] == [f"customers:{scope}" for scope in sorted(scopes.split(","))]
    for call, scope in ((READ, "read"), (WRITE, "write"), (DELETE, "delete")):
        assert _status(cached_service, new, call) == (404 if scope in scopes.split(",") else 403)


def test_the_successor_of_a_narrowed_token_has_what_was_left_of_it(cached_service: Service) -> None:
    old = _make(cached_service)
    assert _customers(cached_service, "token", "narrow", _id(old), "--scopes", "read").returncode == 0
    new, _ = _rotate(cached_service, old)
    assert _listed(cached_service, new)["scopes"] == ["customers:read"]


def test_a_token_rotated_without_an_overlap_ends_at_once(cached_service: Service) -> None:
    old = _make(cached_service)
    _, end = _rotate(cached_service, old, "--overlap", "0s")
    assert end <= time.time()
    assert _listed(cached_service, old)["state"] == "revoked"


def test_a_token_is_rotated_once(cached_service: Service) -> None:
    old = _make(cached_service)
    _rotate(cached_service, old)
    for state in ("has been rotated already and ends at", "is revoked"):
        done = _customers(cached_service, "token", "rotate", _id(old))
        assert (done.returncode, done.stdout) == (1, ""), "there is no second successor"
        assert f"{_id(old)} {state}" in done.stderr
        assert _customers(cached_service, "token", "revoke", _id(old)).returncode == 0


def test_a_revoked_token_is_refused_when_the_cache_is_over(cached_service: Service) -> None:
    token = _make(cached_service)
    assert _status(cached_service, token) == 404
    assert _customers(cached_service, "token", "revoke", _id(token)).returncode == 0
    revoked = time.time()
    assert _last_let_in(cached_service, token, 401) <= revoked + CACHE_SECONDS + BETWEEN


def test_a_revoked_token_is_still_let_in_from_the_cache(tmp_path: Path) -> None:
    with running_service(tmp_path, "--in-memory", "--parameter", "AuthorizerCacheSeconds=3600") as service:
        token = _make(service)
        assert _status(service, token) == 404
        assert _customers(service, "token", "revoke", _id(token)).returncode == 0
        assert _status(service, token) == 404


def test_an_expired_token_is_refused_to_the_second_after_the_cache(cached_service: Service) -> None:
    before = time.time()
    token = _make(cached_service, "--expires", "3s")
    made = time.time()
    last = _last_let_in(cached_service, token, 401)
    # It expires 3 s after the second in which it was made. What is in the cache is older than that.
    assert int(before) + 3 <= time.time()
    assert last <= made + 3 + CACHE_SECONDS + BETWEEN
    assert _listed(cached_service, token)["state"] == "expired"


def test_a_narrowed_token_is_forbidden_only_what_it_lost(cached_service: Service) -> None:
    token = _make(cached_service)
    assert [_status(cached_service, token, call) for call in (READ, WRITE, DELETE)] == [404, 404, 404]
    assert _customers(cached_service, "token", "narrow", _id(token), "--scopes", "read,delete").returncode == 0
    narrowed = time.time()
    assert _last_let_in(cached_service, token, 403, WRITE) <= narrowed + CACHE_SECONDS + BETWEEN
    assert [_status(cached_service, token, call) for call in (READ, WRITE, DELETE)] == [404, 403, 404]
    done = _customers(cached_service, "token", "narrow", _id(token), "--scopes", "write")
    assert done.returncode == 1
    assert "cannot be added" in done.stderr


def test_the_list_shows_when_a_token_was_last_used(cached_service: Service) -> None:
    token = _make(cached_service, scopes="read")
    assert _listed(cached_service, token)["last_used"] is None
    day = time.strftime("%Y-%m-%d", time.gmtime())
    assert _status(cached_service, token) == 404
    assert _listed(cached_service, token)["last_used"] >= day
    shown = _customers(cached_service, "token", "list").stdout
    assert _id(token) in shown, "an id is never cut"


def test_a_token_expires_after_a_year_unless_it_is_told_otherwise(cached_service: Service) -> None:
    row = _listed(cached_service, _make(cached_service))
    made, expires = (datetime.fromisoformat(row[name]) for name in ("created", "expires"))
    assert timedelta(days=365) - timedelta(seconds=2) <= expires - made <= timedelta(days=365)


def test_a_token_that_never_expires_says_so_and_so_does_its_successor(cached_service: Service) -> None:
    options = ("--scopes", "read", "--label", "a test", "--expires", "never")
    done = _customers(cached_service, "token", "create", *options)
    assert "never expires: revoke it" in done.stderr
    token = done.stdout.strip()
    assert _listed(cached_service, token)["expires"] is None
    assert _status(cached_service, token) == 404
    new, _ = _rotate(cached_service, token)
    assert _listed(cached_service, new)["expires"] is None
    dated, _ = _rotate(cached_service, new, "--expires", "30d")
    assert _listed(cached_service, dated)["expires"] is not None


def test_the_longest_duration_and_a_scope_named_twice_are_fine(cached_service: Service) -> None:
    token = _make(cached_service, "--expires", "36500d", scopes="read,customers:read")
    row = _listed(cached_service, token)
    assert row["scopes"] == ["customers:read"]
    assert row["expires"] > "2125"


def test_a_token_that_is_not_there_is_not_revoked(cached_service: Service) -> None:
    done = _customers(cached_service, "token", "revoke", "0" * 16)
    assert done.returncode == 1
    assert "There is no token" in done.stderr


class Authorizer:
    """The authorizer, in this process, and the number of look-ups that it makes."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.look_ups = 0

    def lets_in(self, header: str) -> bool:
        """Whether it lets in the sender of a header. There is only one way in which it may refuse."""
        event = {"type": "TOKEN", "authorizationToken": header, "methodArn": "arn:aws:execute-api:r:1:api/prod/GET/x"}
        try:
            self._handler(event, None)
        except Exception as error:
            # The only exception that the gateway turns into a 401.
            if (type(error), str(error)) != (Exception, "Unauthorized"):
                raise
            return False
        return True

    def count(self, _: object) -> None:
        """Count a look-up."""
        self.look_ups += 1


@pytest.fixture(scope="module")
def authorizer(function: Callable[[str], Handler]) -> Iterator[Authorizer]:
    handler = function("Authorize")
    authorizer = Authorizer(handler)
    with sent_through(handler.__globals__["store"]._client, authorizer.count):  # noqa: SLF001
        yield authorizer


def _mutations(token: str, number: int) -> Iterator[str]:
    letters = string.ascii_letters + string.digits + "_- .:\x00é"
    for _ in range(number):
        match random.randrange(5):
            case 0:
                place = random.randrange(len(token))
                yield token[:place] + random.choice(letters) + token[place + 1 :]
            case 1:
                yield token[: random.randrange(len(token))]
            case 2:
                place = random.randrange(len(token))
                yield token[:place] + random.choice(letters) + token[place:]
            case 3:
                yield "cust_" + "".join(random.choices(string.ascii_letters + string.digits, k=50))
            case _:
                yield "".join(random.choices(letters, k=random.randrange(80)))


def test_of_100000_mutated_tokens_none_is_let_in_and_none_is_looked_up(authorizer: Authorizer) -> None:
    token = new_token()
    before = authorizer.look_ups
    tried = 0
    for mutated in _mutations(token, 100_000):
        # A second space after the scheme changes nothing (RFC 9110, section 11.4: 1*SP).
        if mutated.removeprefix(" ") != token:
            tried += 1
            scheme = random.choice(("", "Bearer ", "bearer ", "Basic "))
            assert not authorizer.lets_in(scheme + mutated)
    assert tried > 95_000
    assert authorizer.look_ups == before, "form and checksum refuse them all, before the table"
    assert not authorizer.lets_in(token), "a token of the right form that was never given out"
    assert authorizer.look_ups == before + 1


@settings(max_examples=500, deadline=None)
@given(header=st.text(max_size=200))
def test_no_header_of_any_shape_is_let_in(authorizer: Authorizer, header: str) -> None:
    assert not authorizer.lets_in(header)


@pytest.mark.parametrize("shape", ["{}x", "{} {}", "Basic {}", "Bearer", "Bearer,{}", '"{}"', "Token {}"])
def test_other_shapes_of_the_header_are_401(client: httpx.Client, service: Service, shape: str) -> None:
    header = shape.format(service.token, service.token)
    assert client.get("/api/customers/1", headers={"Authorization": header}).status_code == 401


def test_no_table_and_no_log_holds_a_token(client: httpx.Client, service: Service) -> None:
    client.post("/api/customers/", json={}, headers={"Idempotency-Key": "a"})
    client.get("/api/customers/1")
    # The fixture checks again when all tests are over.
    assert tokens_kept(service) == []
