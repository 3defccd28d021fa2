"""What a connection of the load test does: the life of two customers, again and again, with a call to each endpoint.

It does not know what sends the calls, so the tests can run it with another client.
"""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

COLLECTION: Final = "/api/customers/"
_OK: Final = frozenset({HTTPStatus.OK})
_CREATED: Final = frozenset({HTTPStatus.CREATED})
_GROUPS: Final = 2**52
"""A group's number is drawn from so many that nobody else has it."""
_PAGE: Final = 100
"""Customers on a page."""


class Call(NamedTuple):
    """A call, and the statuses that are expected."""

    endpoint: str
    """Its name in the results."""
    method: str
    path: str
    body: Mapping[str, object] | None = None
    headers: Mapping[str, str] = {}
    right: frozenset[HTTPStatus] = _OK


class Answer(NamedTuple):
    """What came back. Status 0 and no body if nothing did, or if it was not JSON."""

    status: int
    body: Any = None
    tag: str = ""


type Calls = Generator[Call, Answer]


class Life:
    """The life of two customers: one by the service's id, one by our own key. They are deleted at the end.

    Parameters
    ----------
    group
        Their group.
    """

    def __init__(self, group: int) -> None:
        self._group = group
        self._name = secrets.token_hex(8)
        self._in_doubt: set[str] = set()
        self._left: set[int] = set()

    def calls(self) -> Calls:
        """Yield one call after another, and receive the answer to each. A life ends early if a creation fails.

        Whatever is left then is deleted by further calls.
        """
        yield from self._live()
        yield from self.clean_up()

    def _live(self) -> Calls:
        one = yield from self._create("post", self._post())
        if one is None:
            return
        path, tag = f"{COLLECTION}{one.body['id']}", one.tag
        yield Call("get", "GET", path)
        yield self._find()
        yield Call("get", "GET", path)
        other = yield from self._create("put", self._put())
        yield self._page("last_name")
        yield Call("get", "GET", path)
        yield Call("patch", "PATCH", path, {"age": 43}, {"If-Match": tag})
        yield self._page("age")
        if other is not None:
            yield self._get_external()
        yield Call("history", "GET", f"{path}/history")
        yield from self._delete(one.body["id"])
        if other is not None:
            yield from self._delete(other.body["id"])

    def clean_up(self) -> Calls:
        """Delete what the life has left, however it ended. A complete life leaves nothing."""
        if "post" in self._in_doubt:
            found = yield self._find()
            # The index is a moment behind: a customer may exist without being in it.
            if found.status == HTTPStatus.OK and found.body["customers"]:
                self._in_doubt.discard("post")
                self._left.update(each["id"] for each in found.body["customers"])
        if "put" in self._in_doubt:
            found = yield self._get_external(_OK | {HTTPStatus.NOT_FOUND})
            if found.status == HTTPStatus.OK:
                self._left.add(found.body["id"])
            if found.status in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}:
                self._in_doubt.discard("put")
        for customer_id in sorted(self._left):
            yield from self._delete(customer_id)

    @property
    def left(self) -> int:
        """How many customers it may have left in the service."""
        return len(self._in_doubt) + len(self._left)

    def _post(self) -> Call:
        # A repetition would find its own row. Nothing repeats it here, but that is how clients should create.
        key = {"Idempotency-Key": self._name}
        return Call("create", "POST", COLLECTION, self._customer("post"), key, _CREATED)

    def _put(self) -> Call:
        path = f"{COLLECTION}external/{self._name}"
        return Call("put external", "PUT", path, self._customer("put"), {}, _CREATED)

    def _find(self) -> Call:
        return Call("find by email", "GET", f"{COLLECTION}?email={self._address('post')}")

    def _get_external(self, right: frozenset[HTTPStatus] = _OK) -> Call:
        return Call("get external", "GET", f"{COLLECTION}external/{self._name}", right=right)

    def _page(self, sort: str) -> Call:
        path = f"{COLLECTION}group/{self._group}/?sort={sort}&limit={_PAGE}"
        # Indexes are a moment behind: the first customer of the group may not be in them yet.
        return Call("list group", "GET", path, right=_OK | {HTTPStatus.NOT_FOUND})

    def _create(self, kind: str, call: Call) -> Generator[Call, Answer, Answer | None]:
        answer = yield call
        if answer.status == HTTPStatus.CREATED:
            self._left.add(answer.body["id"])
        # Without an answer, or with a 5xx, the customer may still have been created.
        elif not HTTPStatus.OK <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            self._in_doubt.add(kind)
        return answer if answer.status == HTTPStatus.CREATED else None

    def _delete(self, customer_id: int) -> Calls:
        answer = yield Call("delete", "DELETE", f"{COLLECTION}{customer_id}")
        if answer.status in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}:
            self._left.discard(customer_id)

    def _customer(self, kind: str) -> dict[str, object]:
        return {
            "first_name": "Load",
            "last_name": f"Test {self._name[:4]}",
            "email": self._address(kind),
            "group_id": self._group,
            "age": 42,
        }

    def _address(self, kind: str) -> str:
        return f"load-{kind}-{self._name}@example.com"


def any_group() -> int:
    """Return a group that nobody else has, for the customers of a run."""
    return secrets.randbelow(_GROUPS) + 1
