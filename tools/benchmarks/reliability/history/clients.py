"""Clients that send random requests to the same few customers, and record the answers."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from tools.benchmarks.reliability.history.operations import Json, Operation, origin_of
from tools.benchmarks.reliability.load import http_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GROUPS: Final = (1, 2, 3)
SORTS: Final = ("id", "first_name", "last_name", "email", "age", "created_at")
_CUSTOMERS: Final = 8
"""So few that clients get in each other's way."""
_REMEMBERED: Final = 32
"""Deleted customers that are still asked for, and requests with a key that are still repeated."""
_ROWS: Final = 4
_TIMEOUT: Final = 40.0


class Directory:
    """What all clients together know: which customers exist, and at which version each was last seen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[int, Json] = {}
        self._deleted: deque[Json] = deque(maxlen=_REMEMBERED)
        self.keyed: deque[tuple[str, tuple[Json, ...]]] = deque(maxlen=_REMEMBERED)
        """Requests with an Idempotency-Key."""

    def __len__(self) -> int:
        return len(self._seen)

    def note(self, customers: list[Json]) -> None:
        """Remember customers that an answer showed."""
        with self._lock:
            gone = {customer["id"] for customer in self._deleted}
            for customer in customers:
                known = self._seen.get(customer["id"], customer)
                if customer["id"] not in gone and customer["version"] >= known["version"]:
                    self._seen[customer["id"]] = customer

    def forget(self, customer_id: int) -> None:
        """Remember that a customer is gone."""
        with self._lock:
            if customer_id in self._seen:
                self._deleted.append(self._seen.pop(customer_id))

    def pick(self, choose: random.Random) -> Json | None:
        """Return a customer as it was last seen, or now and then one that is gone. None if none is known."""
        with self._lock:
            if self._deleted and choose.randrange(20) == 0:
                return choose.choice(self._deleted)
            return choose.choice(list(self._seen.values())) if self._seen else None


class Client:
    """One client, to be closed like a file. Its choices depend on its seed, what it meets on the other clients.

    Parameters
    ----------
    name
        Letters and digits that start the names it writes.
    url, token
        The service.
    directory
        What it shares with the other clients.
    seed
        For its choices.
    """

    def __init__(self, name: str, url: str, token: str, directory: Directory, seed: int) -> None:
        self._name = name
        self._directory = directory
        self._random = random.Random(seed)
        self._names = 0
        self.operations: list[Operation] = []
        self.http = http_client(url, token, timeout=_TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def work_while(self, busy: Callable[[], bool]) -> None:
        """Send requests one after another."""
        kinds: dict[Callable[[], None], int] = {
            self._get_any: 6,
            self._update_any: 8,
            self._delete_any: 1,
            self._list_any: 2,
            self._create_new: 1,
            self._repeat_create: 1,
        }
        while busy():
            # Replace customers that were deleted, so that there are always about as many.
            if len(self._directory) < _CUSTOMERS:
                self._create_new()
            else:
                self._random.choices(list(kinds), list(kinds.values()))[0]()

    def get(self, customer_id: int) -> Operation:
        """Read a customer."""
        request = self.http.build_request("GET", f"/api/customers/{customer_id}")
        return self._send("get", request, customer_id=customer_id)

    def walk(self, group_id: int, sort: str, limit: int) -> Iterator[Json]:
        """Yield a group's customers, page by page. A 404 means that it has none.

        Raises
        ------
        httpx.HTTPStatusError
            A page was refused.
        """
        query: dict[str, Any] = {"sort": sort, "age": "true", "limit": limit}
        while True:
            answer = self.http.get(f"/api/customers/group/{group_id}/", params=query)
            if answer.status_code == 404:
                return
            page = answer.raise_for_status().json()
            yield from page["customers"]
            query["cursor"] = page["next_cursor"]
            if query["cursor"] is None:
                return

    def _get_any(self) -> None:
        customer = self._directory.pick(self._random)
        if customer is not None:
            self.get(customer["id"])

    def _list_any(self) -> None:
        query = {"sort": self._random.choice(SORTS), "age": "true", "limit": "1000"}
        path = f"/api/customers/group/{self._random.choice(GROUPS)}/"
        self._send("list", self.http.build_request("GET", path, params=query))

    def _create_new(self) -> None:
        size = self._random.choice((1, 1, 1, _ROWS))
        rows = tuple(self._row() for _ in range(size))
        key = self._new_name() if self._random.randrange(2) else ""
        if key:
            self._directory.keyed.append((key, rows))
        self._create(key, rows)

    def _repeat_create(self) -> None:
        if self._directory.keyed:
            self._create(*self._random.choice(list(self._directory.keyed)))

    def _create(self, key: str, rows: tuple[Json, ...]) -> None:
        size, body = ("one", rows[0]) if len(rows) == 1 else ("list", {"customers": rows})
        headers = {"Idempotency-Key": key} if key else {}
        request = self.http.build_request("POST", "/api/customers/", params={"size": size}, headers=headers, json=body)
        self._send("create", request, rows=rows, key=key)

    def _update_any(self) -> None:
        customer = self._directory.pick(self._random)
        if customer is not None:
            if_match, headers = self._condition(customer)
            changes = self._changes(origin_of(customer))
            request = self.http.build_request("PATCH", _path(customer), headers=headers, json=changes)
            self._send("update", request, customer_id=customer["id"], if_match=if_match, changes=changes)

    def _delete_any(self) -> None:
        customer = self._directory.pick(self._random)
        if customer is not None:
            if_match, headers = self._condition(customer)
            request = self.http.build_request("DELETE", _path(customer), headers=headers)
            done = self._send("delete", request, customer_id=customer["id"], if_match=if_match)
            if done.status in {200, 404}:
                self._directory.forget(customer["id"])

    def _condition(self, customer: Json) -> tuple[int | None, dict[str, str]]:
        """Choose a version to write at: any, the one last seen, or an older one. Return it and the header."""
        version: int = customer["version"]
        chosen = self._random.choice((None, None, "*", version, version, max(version - 1, 1)))
        if chosen is None:
            return None, {}
        return (None, {"If-Match": "*"}) if chosen == "*" else (int(chosen), {"If-Match": f'"{chosen}"'})

    def _send(self, kind: str, request: httpx.Request, **sent: Any) -> Operation:  # noqa: ANN401 (fields of an operation)
        """Send a request, and record it."""
        start = time.monotonic()
        try:
            response = self.http.send(request)
        except httpx.TransportError:
            done = Operation(kind, start, time.monotonic(), None, {}, **sent)
        else:
            end = time.monotonic()
            tag = response.headers.get("ETag")
            version = None if tag is None else int(tag.strip('"'))
            done = Operation(kind, start, end, response.status_code, response.json(), version=version, **sent)
        self.operations.append(done)
        self._directory.note(done.shown)
        return done

    def _new_name(self) -> str:
        self._names += 1
        return f"{self._name}x{self._names}"

    def _row(self) -> Json:
        name = self._new_name()
        row = {"first_name": name, "last_name": name, "email": f"{name}.{name}@example.com"}
        age = self._random.choice(({}, {"age": self._random.randrange(151)}))
        return {**row, "group_id": self._random.choice(GROUPS), **age}

    def _changes(self, origin: str) -> Json:
        name = self._new_name()
        all_fields = {
            "first_name": name,
            "last_name": name,
            "email": f"{origin}.{name}@example.com",
            "age": self._random.choice((None, self._random.randrange(151))),
            "group_id": self._random.choice(GROUPS),
        }
        chosen = self._random.sample(list(all_fields), self._random.randint(1, 3))
        return {field: all_fields[field] for field in chosen}


def _path(customer: Json) -> str:
    return f"/api/customers/{customer['id']}"
