"""A function's start: garbage collection rests from the import of this module, among the first, until `over` is called.

A start makes a few hundred thousand objects, and nothing but what stays: each look of the collector at them is in vain.
"""

from __future__ import annotations

import gc
from typing import Final

_NEW_OBJECTS: Final = 50_000
"""Between two looks of the collector, where Python's own number is 2,000. What a call makes has hardly a cycle, and is
freed without it: looking at a chunk of an import every 2,000 objects took a twelfth of the worker's time."""

gc.disable()


def over() -> None:
    """Let the collector work, but seldom, and never look at what the start has made."""
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
    gc.enable()
