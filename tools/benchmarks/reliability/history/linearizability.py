"""Whether some order of the actions on one customer explains all answers.

The definition is linearizability (Herlihy and Wing, 1990, https://doi.org/10.1145/78969.78972): each action takes place
at one instant between its start and its end. The search is that of Wing and Gong, with Lowe's record of states already
seen (2017, https://doi.org/10.1002/cpe.3928). An action whose outcome nobody knows has no end: it took place once, at
any time after its start, or never.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tools.benchmarks.reliability.history.operations import Operation

_MOST_STATES: Final = 20_000
"""Far more than a history needs. Only many concurrent writes with unknown outcomes need so many."""


class State(NamedTuple):
    """A customer at one moment."""

    version: int
    """0 before it is created. The last one, for a deleted customer."""
    customer: tuple[tuple[str, Any], ...] | None
    """Its fields by name, sorted. None while it does not exist."""


@dataclass(frozen=True, eq=False, slots=True)
class Action:
    """One operation, as far as it concerns one customer."""

    operation: Operation
    start: float
    end: float
    """Infinite if nobody knows whether it took place."""
    effect: Literal["read", "create", "update", "delete"]
    apply: Callable[[State], State | None]
    """Returns the state after it. None if, in this state, it cannot take place or cannot have its answer."""
    latest: int | None
    """The highest version of a state in which it can take place. None if any."""

    @property
    def required(self) -> bool:
        """Whether it certainly took place."""
        return self.end < math.inf


class UndecidedError(Exception):
    """There are too many orders to try them all."""


def is_explained(actions: Sequence[Action], start: State, most_states: int = _MOST_STATES) -> bool:
    """Return whether an order exists in which every action can have its answer.

    Raises
    ------
    UndecidedError
        None was found among the first `most_states` states.
    """
    stack = [(tuple(sorted(actions, key=lambda action: action.start)), start)]
    seen: set[tuple[tuple[Action, ...], State]] = set()
    while stack:
        node = _after_reads(*stack.pop())
        if node in seen:
            continue
        seen.add(node)
        if len(seen) > most_states:
            raise UndecidedError
        remaining, state = node
        required = [action for action in remaining if action.required]
        if not required:
            return True
        if all(action.latest is None or action.latest >= state.version for action in required):
            for action in _next_writes(remaining, required, state):
                after = action.apply(state)
                if after is not None:
                    stack.append((tuple(other for other in remaining if other is not action), after))
    return False


def _after_reads(remaining: tuple[Action, ...], state: State) -> tuple[tuple[Action, ...], State]:
    """Let all reads take place that can.

    A read changes nothing, so placing it as early as possible rules out no order of the others.
    """
    while True:
        first_end = min((action.end for action in remaining), default=math.inf)
        left: list[Action] = []
        for action in remaining:
            after = action.apply(state) if action.effect == "read" and action.start <= first_end else None
            if after is None:
                left.append(action)
            else:
                state = after
        if len(left) == len(remaining):
            return remaining, state
        remaining = tuple(left)


def _next_writes(remaining: Sequence[Action], required: Sequence[Action], state: State) -> list[Action]:
    """Return the writes that can be next, most likely last."""
    first_end = min(action.end for action in required)
    highest = max((action.latest for action in required if action.latest is not None), default=0)
    writes = [action for action in remaining if action.effect != "read" and action.start <= first_end]
    # An update that may never have taken place is useful only if some answer needs a higher version.
    useful = [action for action in writes if action.required or action.effect != "update" or state.version < highest]
    return sorted(useful, key=lambda action: action.required)
