"""A function's start: garbage collection rests from the import of this module, the first, until `over` is called.

A start makes a few hundred thousand objects, and nothing but what stays: each look of the collector at them is in vain.
"""

from __future__ import annotations

import gc

gc.disable()


def over() -> None:
    """Let the collector work, but never look at what the start has made."""
    gc.freeze()
    gc.enable()
