"""One request of each kind, sent while the store fails: how to prepare it, and how to judge the result."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple
from uuid import uuid4

from tests.api.support import wait_until

if TYPE_CHECKING:
    import httpx

    from tools.benchmarks.reliability.requests import World

type Json = dict[str, Any]

JOHN: Final = {"first_name": "John", "last_name": "Doe", "email": "john.doe@example.com"}
CHANGES: Final = {"first_name": "Jane", "email": "jane@example.com", "age": 7}
_LIST: Final = 100
_PATIENCE: Final = 30.0


class Verdict(NamedTuple):
    """The result of a trial, apart from the status of its first answer."""

    partial: bool = False
    """Something was visible that is neither the state before nor the state after."""
    lost: bool = False
    """Something that was acknowledged, at once or when repeated, is not there."""
    doubled: bool = False
    wrong: str = ""
    """An answer that the contract does not allow."""


class Trial:
    """One request of a kind, with its own data. `prepare` and `judge` run while nothing fails."""

    succeeds: frozenset[int] = frozenset({200})

    def __init__(self, world: World) -> None:
        self.world = world
        self.group_id = random.randrange(1, 2**53)

    def prepare(self) -> None:
        """Create what the request needs."""

    def send(self) -> httpx.Response:
        """Send the request."""
        raise NotImplementedError

    def judge(self, answer: httpx.Response) -> Verdict:
        """Judge the result."""
        raise NotImplementedError


class Get(Trial):
    """GET of a customer."""

    def prepare(self) -> None:
        """Create it."""
        self.customer = self.world.create(self.group_id)

    def send(self) -> httpx.Response:
        """Read it."""
        return self.world.client.get(f"/api/customers/{self.customer['id']}")

    def judge(self, answer: httpx.Response) -> Verdict:
        """Check that it is what was created."""
        again = self.world.settle(self.send)
        shown = [done.json() for done in (answer, again) if done.status_code == 200]
        return Verdict(wrong="" if again.status_code == 200 and all(one == self.customer for one in shown) else "body")


class ListGroup(Get):
    """GET of a group."""

    def send(self) -> httpx.Response:
        """Read it."""
        return self.world.client.get(f"/api/customers/group/{self.group_id}/?age=true&sort=last_name")

    def judge(self, answer: httpx.Response) -> Verdict:
        """Check that it has the one customer."""
        again = self.world.settle(self.send)
        shown = [done.json()["customers"] for done in (answer, again) if done.status_code == 200]
        return Verdict(
            wrong="" if again.status_code == 200 and all(one == [self.customer] for one in shown) else "body"
        )


class Authorize(Get):
    """A GET with a token that the gateway has to ask the authorizer about."""

    def prepare(self) -> None:
        """Create a token too."""
        super().prepare()
        self.token = self.world.new_token()

    def send(self) -> httpx.Response:
        """Read with the new token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.world.client.get(f"/api/customers/{self.customer['id']}", headers=headers)


class Patch(Get):
    """PATCH of three fields."""

    if_match = False

    def send(self) -> httpx.Response:
        """Change them."""
        headers = {"If-Match": '"1"'} if self.if_match else {}
        return self.world.client.patch(f"/api/customers/{self.customer['id']}", json=CHANGES, headers=headers)

    def judge(self, answer: httpx.Response) -> Verdict:
        """Check that all or none changed, and that all have changed after a repetition."""
        path = f"/api/customers/{self.customer['id']}"
        after: Json = self.world.client.get(path).json()
        changed = {**self.customer, **CHANGES, "version": 2, "updated_at": after["updated_at"]}
        acknowledged = answer.status_code == 200
        verdict = Verdict(
            partial=after not in (self.customer, changed),
            lost=acknowledged and after != changed,
            doubled=after["version"] > 2,
        )
        again = self.world.settle(self.send)
        if self.if_match and after == changed:
            return verdict._replace(wrong="" if again.status_code == 412 else f"repeated: {again.status_code}")
        return verdict._replace(wrong="" if again.status_code == 200 else f"repeated: {again.status_code}")


class PatchAtVersion(Patch):
    """PATCH with If-Match."""

    if_match = True


class Delete(Get):
    """DELETE of a customer."""

    def send(self) -> httpx.Response:
        """Delete it."""
        return self.world.client.delete(f"/api/customers/{self.customer['id']}")

    def judge(self, answer: httpx.Response) -> Verdict:
        """Check that it is gone if the answer said so, also from the index, and gone after a repetition."""
        there = self.world.client.get(f"/api/customers/{self.customer['id']}").status_code == 200
        indexed = self.customer["id"] in self.world.group(self.group_id)
        again = self.world.settle(self.send)
        gone = self.world.client.get(f"/api/customers/{self.customer['id']}").status_code == 404
        return Verdict(
            partial=there != indexed,
            lost=(answer.status_code == 200 and there) or not gone,
            wrong="" if again.status_code == (200 if there else 404) else f"repeated: {again.status_code}",
        )


class Create(Trial):
    """POST without an Idempotency-Key."""

    succeeds = frozenset({201})
    query = ""
    size = 1
    bad = 0

    def prepare(self) -> None:
        """Send no key."""
        self.headers: dict[str, str] = {}

    def send(self) -> httpx.Response:
        """Create."""
        row = {**JOHN, "group_id": self.group_id}
        body: Json = {"customers": [row] * (self.size - self.bad) + [{}] * self.bad} if self.query else row
        return self.world.client.post(f"/api/customers/{self.query}", json=body, headers=self.headers)

    def judge(self, answer: httpx.Response) -> Verdict:
        """Check that all or nothing is there, and all if the answer said so."""
        wanted = self.size - self.bad
        there = self.world.group(self.group_id)
        verdict = Verdict(partial=len(there) not in {0, wanted}, doubled=len(there) > wanted)
        if answer.status_code in self.succeeds:
            verdict = verdict._replace(lost=sorted(there) != sorted(self._shown(answer)))
        return verdict if not self.headers else self._judge_again(answer, verdict)

    def _judge_again(self, answer: httpx.Response, verdict: Verdict) -> Verdict:
        again = self.world.settle(self.send)
        there = self.world.group(self.group_id)
        wanted = self.size - self.bad
        problem = again.status_code not in self.succeeds or len(set(self._shown(again))) != wanted
        if answer.status_code in self.succeeds:
            problem |= again.content != answer.content or "Idempotency-Replayed" not in again.headers
        return verdict._replace(
            lost=verdict.lost or sorted(there) != sorted(self._shown(again)),
            doubled=verdict.doubled or len(there) > wanted,
            wrong="" if not problem else f"repeated: {again.status_code}",
        )

    @staticmethod
    def _shown(answer: httpx.Response) -> list[int]:
        body = answer.json()
        rows = body.get("customers") or [row.get("customer") for row in body.get("results", [])] or [body]
        return [row["id"] for row in rows if row and "id" in row]


class CreateWithKey(Create):
    """POST with an Idempotency-Key."""

    def prepare(self) -> None:
        """Make up the key."""
        self.headers = {"Idempotency-Key": str(uuid4())}


class CreateList(CreateWithKey):
    """POST of a hundred."""

    query = "?size=list"
    size = _LIST


class CreateKeep(CreateList):
    """POST of a hundred, one of them bad."""

    query = "?size=list&on_error=keep"
    succeeds = frozenset({207})
    bad = 1


class FindByKey(Get):
    """GET by external id."""

    def prepare(self) -> None:
        """Create a customer with a key."""
        self.path = f"/api/customers/external/{uuid4()}"
        answer = self.world.client.put(self.path, json={**JOHN, "group_id": self.group_id})
        self.customer = answer.raise_for_status().json()

    def send(self) -> httpx.Response:
        """Read it."""
        return self.world.client.get(self.path)


class FindByEmail(ListGroup):
    """GET of the customers with an address."""

    def prepare(self) -> None:
        """Create one with a unique address."""
        self.email = f"{uuid4()}@example.com"
        self.customer = self.world.create(self.group_id, email=self.email)

    def send(self) -> httpx.Response:
        """Find it."""
        return self.world.client.get("/api/customers/", params={"email": self.email})


class ListAll(Get):
    """GET of a page of all customers."""

    def send(self) -> httpx.Response:
        """Read it."""
        return self.world.client.get("/api/customers/", params={"limit": 5})

    def judge(self, answer: httpx.Response) -> Verdict:
        """Check that the page has customers."""
        again = self.world.settle(self.send)
        shown = [done.json() for done in (answer, again) if done.status_code == 200]
        return Verdict(wrong="" if again.status_code == 200 and all(one["customers"] for one in shown) else "body")


class GetHistory(Get):
    """GET of a customer's history."""

    def prepare(self) -> None:
        """Wait until the history shows the creation."""
        super().prepare()
        wait_until(lambda: bool(self.send().json()["history"]), _PATIENCE)

    def send(self) -> httpx.Response:
        """Read it."""
        return self.world.client.get(f"/api/customers/{self.customer['id']}/history")

    def judge(self, answer: httpx.Response) -> Verdict:
        """Check that it has the creation, once."""
        again = self.world.settle(self.send)
        shown = [done.json()["history"] for done in (answer, again) if done.status_code == 200]
        right = all([entry["action"] for entry in one] == ["created"] for one in shown)
        return Verdict(wrong="" if again.status_code == 200 and right else "body")


class PutNew(Trial):
    """PUT of a customer who is not there yet."""

    succeeds = frozenset({201})

    def prepare(self) -> None:
        """Make up the key."""
        self.path = f"/api/customers/external/{uuid4()}"

    def send(self) -> httpx.Response:
        """Create."""
        return self.world.client.put(self.path, json={**JOHN, "group_id": self.group_id})

    def judge(self, answer: httpx.Response) -> Verdict:
        """Check that it is there if the answer said so, and once after a repetition, which writes nothing new."""
        before = self.world.group(self.group_id)
        again = self.world.settle(self.send)
        after = self.world.group(self.group_id)
        right = again.status_code == (200 if before else 201) and again.json()["version"] == 1
        return Verdict(
            lost=(answer.status_code == 201 and len(before) != 1) or len(after) != 1,
            doubled=len(after) > 1,
            wrong="" if right else f"repeated: {again.status_code}",
        )


class Put(FindByKey):
    """PUT that changes three fields. A repetition writes nothing, also with If-Match."""

    headers: ClassVar[dict[str, str]] = {}
    changes: ClassVar[Json] = CHANGES

    def send(self) -> httpx.Response:
        """Replace them."""
        body = {**JOHN, "group_id": self.group_id, **self.changes}
        return self.world.client.put(self.path, json=body, headers=self.headers)

    def judge(self, answer: httpx.Response) -> Verdict:
        """Check that all or none changed, and that all have changed after a repetition."""
        after: Json = self.world.client.get(self.path).json()
        times = {"version": 2, "updated_at": after["updated_at"]} if self.changes else {}
        changed = {**self.customer, **self.changes, **times}
        again = self.world.settle(self.send)
        right = again.status_code == 200 and again.json()["version"] == changed["version"]
        return Verdict(
            partial=after not in (self.customer, changed),
            lost=answer.status_code == 200 and after != changed,
            doubled=after["version"] > changed["version"],
            wrong="" if right else f"repeated: {again.status_code}",
        )


class PutAtVersion(Put):
    """PUT with If-Match."""

    headers: ClassVar[dict[str, str]] = {"If-Match": '"1"'}


class PutSame(Put):
    """PUT of what is already there."""

    changes: ClassVar[Json] = {}


KINDS: Final[dict[str, type[Trial]]] = {
    "GET a customer": Get,
    "GET a group": ListGroup,
    "PATCH": Patch,
    "PATCH with If-Match": PatchAtVersion,
    "DELETE": Delete,
    "GET by external id": FindByKey,
    "GET by email": FindByEmail,
    "GET all": ListAll,
    "GET the history": GetHistory,
    "PUT a new one": PutNew,
    "PUT": Put,
    "PUT with If-Match": PutAtVersion,
    "PUT the same": PutSame,
    "POST one": Create,
    "POST one, with a key": CreateWithKey,
    "POST 100, with a key": CreateList,
    "POST 100, keep, with a key": CreateKeep,
    "authorizer": Authorize,
}
