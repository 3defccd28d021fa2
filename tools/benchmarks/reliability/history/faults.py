"""What goes wrong while the clients work: killed processes, a store that pauses, calls cut or delayed."""

from __future__ import annotations

import itertools
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.api.support import descendants
from tools.benchmarks.reliability.fault_proxy import Fault, FaultProxy

if TYPE_CHECKING:
    import random
    import threading
    from collections import Counter
    from collections.abc import Callable

_SPOILING: Final = (Fault.CUT, Fault.LOST, Fault.LATE, Fault.HANGING, Fault.SLOW)

_ENGINE_EVERY: Final = 20
"""One kill in this many hits the engine."""


class Target(NamedTuple):
    """A running service."""

    pid: int
    proxy: FaultProxy
    """Between its functions and the store."""

    def processes(self, word: str) -> list[int]:
        """Return the ids of the service's processes whose command contains a word."""
        return [process.pid for process in descendants(self.pid) if word in process.command]


def kill(target: Target, choose: random.Random, over: threading.Event, done: Counter[str]) -> None:
    """Kill a function's process about twice a second, and now and then the engine, which starts again by itself."""
    for turn in itertools.count():
        if over.wait(choose.uniform(0.2, 0.8)):
            return
        what = "engine" if turn % _ENGINE_EVERY == _ENGINE_EVERY // 2 else "function"
        found = target.processes(":function:" if what == "function" else "dynoxide")
        if found:
            with suppress(ProcessLookupError):
                os.kill(choose.choice(found), signal.SIGKILL)
                done[f"{what} killed"] += 1


def pause(target: Target, choose: random.Random, over: threading.Event, done: Counter[str]) -> None:
    """Stop the engine for longer than the SDK waits, so that calls are sent again that the engine still applies."""
    while not over.wait(choose.uniform(0.5, 2.5)):
        for pid in target.processes("dynoxide"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                done["engine paused"] += 1
                over.wait(choose.uniform(1.5, 4.4))
                os.kill(pid, signal.SIGCONT)


def spoil(target: Target, choose: random.Random, over: threading.Event, done: Counter[str]) -> None:
    """Cut or delay some calls to the store, or their answers, from time to time."""
    while not over.wait(choose.uniform(0.1, 1.0)):
        target.proxy.spoil(choose.choice(_SPOILING), one_in=choose.randint(2, 20))
        over.wait(choose.uniform(0.5, 3))
        target.proxy.heal()
    done["call cut or delayed"] = target.proxy.spoilt.total()


FAULTS: Final[dict[str, Callable[[Target, random.Random, threading.Event, Counter[str]], None]]] = {
    "kills": kill,
    "pauses": pause,
    "cuts": spoil,
}
