"""Name what went wrong with a customer whose answers no order explains.

An anomaly is named after one step: if it had gone differently, some order would explain the answers. The name guides
the reader. That something is wrong does not depend on it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple

from tools.benchmarks.reliability.history.linearizability import Action, UndecidedError, is_explained
from tools.benchmarks.reliability.history.model import NEVER_CREATED, as_unknown, once_more

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tools.benchmarks.reliability.history.operations import Operation

_MOST_STATES: Final = 1000
"""In each of the many searches here."""
_SHOWN: Final = 12
"""Most operations that are listed."""


class Anomaly(NamedTuple):
    """Something that the contract does not allow."""

    what: str
    where: str
    operations: tuple[Operation, ...] = ()
    """What led to it, latest last."""
    customer_id: int = 0

    def __str__(self) -> str:
        """Describe it, one line for each operation."""
        return "\n    ".join(
            [f"{self.what}: {self.where}", *(one.describe(self.customer_id) for one in self.operations)]
        )


def explain(customer_id: int, actions: Sequence[Action]) -> Anomaly:
    """Return an anomaly with its name, and with the operations up to the first impossible answer."""
    end = _first_impossible_end(actions)
    until_then = _until(actions, end)
    begun = [action for action in actions if action.start <= end]
    led_to_it = _telling([action.operation for action in begun], end)
    # The whole history tells more. But if several things went wrong, one step can explain only its beginning.
    for history, suspects in ((actions, begun), (until_then, until_then)):
        for what, action, instead in _mendings(sorted(suspects, key=lambda action: action.start, reverse=True)):
            if _is_explained([*(other for other in history if other is not action), *instead]):
                where = f"customer {customer_id}: {action.operation.describe(customer_id)}"
                return Anomaly(what, where, led_to_it, customer_id)
    return Anomaly("no order explains the answers", f"customer {customer_id}", led_to_it, customer_id)


def _telling(operations: Sequence[Operation], end: float) -> tuple[Operation, ...]:
    """Return the last of these writes, and the reads that were answered at a time."""
    writes = {one for one in operations if one.kind not in {"get", "list"}}
    reads = {one for one in operations if one not in writes and one.end == end}
    return tuple(sorted(writes | reads, key=lambda operation: operation.end)[-_SHOWN:])


def _mendings(actions: Sequence[Action]) -> Iterator[tuple[str, Action, list[Action]]]:
    """Yield what may have gone wrong, most telling first: its name, an action, and what should be in its place."""
    for mend in (_refused, _repeated, _lost, _came_back, _misread):
        for action in actions:
            for what, instead in mend(action, actions):
                yield what, action, instead


type _Mending = Iterator[tuple[str, list[Action]]]


def _refused(action: Action, _: Sequence[Action]) -> _Mending:
    if action.operation.kind in {"update", "delete"} and action.operation.status in {404, 412}:
        yield f"{action.operation.status} though applied", [as_unknown(action)]


def _repeated(action: Action, _: Sequence[Action]) -> _Mending:
    if action.effect in {"update", "delete"}:
        yield "applied twice", [action, once_more(action)]


def _lost(action: Action, actions: Sequence[Action]) -> _Mending:
    if action.required and action.effect == "update":
        yield "deleted customer came back" if action.start > _gone(actions) else "acknowledged change lost", []
    if action.required and action.effect == "delete":
        several = len(_acknowledged_deletes(actions)) > 1
        yield "two deletes acknowledged" if several else "deleted customer came back", []


def _came_back(action: Action, actions: Sequence[Action]) -> _Mending:
    seen_again = any(other.operation.shown and other.operation.start > _gone(actions) for other in actions)
    if action.effect == "read" and action.operation.shown and seen_again:
        yield "deleted customer came back", []


def _misread(action: Action, _: Sequence[Action]) -> _Mending:
    if action.effect == "read":
        yield "stale read" if action.operation.shown else "said to be missing or at another version", []


def _acknowledged_deletes(actions: Sequence[Action]) -> list[Action]:
    return [action for action in actions if action.required and action.effect == "delete"]


def _gone(actions: Sequence[Action]) -> float:
    """Return when a client first knew that the customer was deleted: its deletion was acknowledged, or it got a 404."""
    missed = [action for action in actions if action.operation.status == 404]
    return min((action.end for action in (*missed, *_acknowledged_deletes(actions))), default=math.inf)


def _first_impossible_end(actions: Sequence[Action]) -> float:
    """Return the time of the first answer that no order explains."""
    ends = sorted({action.end for action in actions if action.required})
    return ends[bisect_left(ends, 1, key=lambda end: not _is_explained(_until(actions, end)))]


def _until(actions: Sequence[Action], end: float) -> list[Action]:
    """Return the actions as known at a time: a write that was still running may or may not have taken place."""
    known = [action for action in actions if action.end <= end]
    running = [action for action in actions if action.start <= end < action.end]
    return [
        *known,
        *(
            as_unknown(action)
            for action in running
            if action.operation.kind in {"update", "delete"} or action.effect == "create"
        ),
    ]


def _is_explained(actions: Sequence[Action]) -> bool:
    try:
        return is_explained(actions, NEVER_CREATED, _MOST_STATES)
    except UndecidedError:
        return False
