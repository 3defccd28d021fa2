"""A function's start: importing this module, early, turns garbage collection off until `over` is called.

A start makes a few hundred thousand objects, and all of them stay, so each collection would be wasted.
"""

from __future__ import annotations

import gc
import logging
from typing import Final

_NEW_OBJECTS: Final = 50_000
"""Between two collections; Python's default is 2,000. A call makes hardly any reference cycles, so its objects are
freed without the collector. With 2,000, collecting took a twelfth of an import worker's time."""

gc.disable()
# Lambda sets the level of LogLevel for everything. Only our own logger has it, because the lines of libraries may
# contain what they send: with DEBUG, urllib3 logs the path of each S3 object.
logging.getLogger().setLevel(logging.ERROR)


def over() -> None:
    """Turn the collector on, but let it run seldom, and ignore what the start has made."""
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
    gc.enable()
