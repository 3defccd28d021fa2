"""What each operation may do to one customer, and what its answer says about it.

`actions_by_customer` splits a history into one list of actions per customer. To add a kind of operation, add a function
to `_ACTIONS` that says which customers an operation concerns, and how.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from tools.benchmarks.reliability.history.linearizability import Action, State
from tools.benchmarks.reliability.history.operations import History, Json, Operation, origin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TIMES: Final = frozenset({"created_at", "updated_at"})
"""Fields that the service sets. After a write without an answer, nobody knows them until they are read."""

NEVER_CREATED: Final = State(0, None)


class Creation(NamedTuple):
    """One row of a POST. The requests that repeat it with the same Idempotency-Key belong to it."""

    row: Json
    requests: list[tuple[Operation, int]]
    """Each with the row's position in it."""

    @property
    def acknowledged(self) -> list[tuple[Operation, Json]]:
        """The requests answered 201, and the customer that each showed."""
        return [(sent, sent.shown[index]) for sent, index in self.requests if index < len(sent.shown)]


def creations(history: History) -> dict[str, Creation]:
    """Return every row that a POST sent, by its origin."""
    found: dict[str, Creation] = {}
    for operation in history.operations:
        for index, row in enumerate(operation.rows):
            found.setdefault(origin_of(row), Creation(row, [])).requests.append((operation, index))
    return found


def customers_by_origin(history: History) -> dict[str, set[int]]:
    """Return the ids of all customers that were ever seen, by the row from which they were created."""
    found: dict[str, set[int]] = defaultdict(set)
    for operation in history.operations:
        rows = operation.rows or operation.shown
        for customer, row in zip(operation.shown, rows, strict=False):
            found[origin_of(row)].add(customer["id"])
    for customer in (*history.table, *(row for rows in history.indexes.values() for row in rows)):
        found[origin_of(customer)].add(customer["id"])
    return found


def actions_by_customer(history: History) -> dict[int, list[Action]]:
    """Return what happened to each customer that a POST of this history created."""
    rows = creations(history)
    found: dict[int, list[Action]] = {}
    for origin, ids in customers_by_origin(history).items():
        if origin in rows:
            found |= {customer_id: _creation(rows[origin], customer_id) for customer_id in ids}
    for operation in history.operations:
        for customer_id, action in _ACTIONS[operation.kind](operation):
            if customer_id in found:
                found[customer_id].append(action)
    # After everything else, when all clients have their answers.
    end = max((operation.end for operation in history.operations), default=0.0) + 1
    table = {customer["id"]: customer for customer in history.table}
    for customer_id, actions in found.items():
        status = 200 if customer_id in table else 404
        last = Operation("get", end, end, status, table.get(customer_id, {}), customer_id)
        actions += [action for _, action in _ACTIONS["get"](last)]
    return found


def as_unknown(action: Action) -> Action:
    """Return a write as it looks to someone who does not know its answer."""
    if action.effect == "create":
        return replace(action, end=math.inf)
    return _write(replace(action.operation, status=None))


def once_more(action: Action) -> Action:
    """Return an update or a deletion as if it were applied once more, whatever its `If-Match` says."""
    return _write(replace(action.operation, status=None, if_match=None))


def _write(operation: Operation) -> Action:
    ((_, action),) = _ACTIONS[operation.kind](operation)
    return action


def _creation(creation: Creation, customer_id: int) -> list[Action]:
    """Return the creation, and reads for what its answers show.

    A repeated request may show the first answer, or the customer as it was at any time since the first request.
    """
    start = min(sent.start for sent, _ in creation.requests)
    mine = [(sent, shown) for sent, shown in creation.acknowledged if shown["id"] == customer_id]
    end = min((sent.end for sent, _ in mine), default=math.inf)

    def apply(state: State) -> State | None:
        if state != NEVER_CREATED:
            return None
        absent: Json = {"external_id": None, "age": None, "metadata": {}}
        known = {**absent, **creation.row, "id": customer_id, "version": 1}
        return State(1, _frozen({**known, **dict.fromkeys(_TIMES)}))

    created = Action(creation.requests[0][0], start, end, "create", apply, latest=0)
    return [created, *(_shows(sent, shown, start=start) for sent, shown in mine)]


def _get(operation: Operation) -> Iterator[tuple[int, Action]]:
    if operation.status == 200:
        yield operation.customer_id, _shows(operation, operation.answer, start=operation.start)
    elif operation.status == 404:
        yield operation.customer_id, _is_absent(operation)


def _list(operation: Operation) -> Iterator[tuple[int, Action]]:
    # Group reads are eventually consistent: what they show was true at some time before the answer.
    for customer in operation.shown:
        yield customer["id"], _shows(operation, customer, start=-math.inf)


def _update(operation: Operation) -> Iterator[tuple[int, Action]]:
    def apply(state: State) -> State | None:
        if state.customer is None or operation.if_match not in {None, state.version}:
            return None
        version = state.version + 1
        changed = {**dict(state.customer), **(operation.changes or {}), "version": version, "updated_at": None}
        after = State(version, _frozen(changed))
        return after if operation.unknown else _seen(after, operation.answer)

    yield from _conditional_write(operation, "update", apply, latest=operation.answer.get("version", 0) - 1)


def _delete(operation: Operation) -> Iterator[tuple[int, Action]]:
    def apply(state: State) -> State | None:
        if state.customer is None or operation.if_match not in {None, state.version}:
            return None
        return State(state.version, None)

    yield from _conditional_write(operation, "delete", apply, latest=operation.if_match)


def _conditional_write(
    operation: Operation,
    effect: Literal["update", "delete"],
    apply: Callable[[State], State | None],
    latest: int | None,
) -> Iterator[tuple[int, Action]]:
    """Yield a write, or what its refusal says: 404 that there is no customer, 412 that it has another version."""
    if operation.unknown:
        yield operation.customer_id, Action(operation, operation.start, math.inf, effect, apply, operation.if_match)
    elif operation.status == 200:
        yield operation.customer_id, Action(operation, operation.start, operation.end, effect, apply, latest)
    elif operation.status == 404:
        yield operation.customer_id, _is_absent(operation)
    elif operation.status == 412:
        yield operation.customer_id, _is_at_another_version(operation)


def _nothing(_: Operation) -> Iterator[tuple[int, Action]]:
    """Yield nothing: `_creation` looks at all requests of a row together."""
    yield from ()


_ACTIONS: Final[dict[str, Callable[[Operation], Iterator[tuple[int, Action]]]]] = {
    "create": _nothing,
    "get": _get,
    "list": _list,
    "update": _update,
    "delete": _delete,
}


def _shows(operation: Operation, shown: Json, *, start: float) -> Action:
    def apply(state: State) -> State | None:
        return _seen(state, shown)

    return Action(operation, start, operation.end, "read", apply, latest=shown["version"])


def _is_absent(operation: Operation) -> Action:
    def apply(state: State) -> State | None:
        return state if state.customer is None else None

    return Action(operation, operation.start, operation.end, "read", apply, latest=None)


def _is_at_another_version(operation: Operation) -> Action:
    def apply(state: State) -> State | None:
        is_there = state.customer is not None and state.version == operation.version
        return state if is_there and operation.if_match not in {None, state.version} else None

    return Action(operation, operation.start, operation.end, "read", apply, latest=operation.version)


def _seen(state: State, shown: Json) -> State | None:
    """Return the state with the times that were shown. None if anything else in the answer differs."""
    known, frozen = dict(state.customer or ()), dict(_frozen(shown))
    if known.keys() != frozen.keys():
        return None
    if any(value != frozen[name] and not (value is None and name in _TIMES) for name, value in known.items()):
        return None
    return State(state.version, _frozen(shown))


def _frozen(customer: Json) -> tuple[tuple[str, Any], ...]:
    entries = {name: tuple(sorted(value.items())) for name, value in customer.items() if isinstance(value, dict)}
    return tuple(sorted({**customer, **entries}.items()))
