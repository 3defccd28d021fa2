"""A function's start: importing this module, before others, turns garbage collection off until `over` is called.

A start makes a few hundred thousand objects, and all of them stay, so each collection would be wasted.
From then on, some modules are loaded only when they are used.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from threading import Lock
from types import ModuleType
from typing import Any, Final

LATE: Final = (
    "ast",
    "configparser",
    "jmespath",
    "locale",
    "mimetypes",
    "shlex",
    "shutil",
    "signal",
    "textwrap",
    "tokenize",
)
"""Modules that libraries import, but that hardly any call needs. Whoever imports a name `from` one of them loads it."""
_NEW_OBJECTS: Final = 50_000
"""Between two collections; Python's default is 2,000. A call makes hardly any reference cycles, so its objects are
freed without the collector. With 2,000, collecting took a twelfth of an import worker's time."""
_taking_turns: Final = Lock()
"""Two threads may be the first to use a module. The second one must not remove what the first one has loaded."""


class Late(ModuleType):
    """Stands for a module, and loads it when a name of it is asked for.

    A library that needs the module as soon as it imports it gets it then. Some things work only after that, and no
    package of the layer does them: `importlib.util.find_spec`, `importlib.reload`, `dir`, and setting a name of the
    module. Python's own `importlib.util.LazyLoader` is no help: any later `import` of the module would load it.
    """

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever the module has)
        """Return what the module has by this name."""
        with _taking_turns:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


gc.disable()
for _name in LATE:
    if _name not in sys.modules:
        sys.modules[_name] = Late(_name)

import logging  # noqa: E402 (it imports modules that are late)

# Lambda sets the level of LogLevel for everything. Only our own logger has it, because the lines of libraries may
# contain what they send: with DEBUG, urllib3 logs the path of each S3 object.
logging.getLogger().setLevel(logging.ERROR)


def over() -> None:
    """Turn the collector on, but let it run seldom, and ignore what the start has made."""
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
    gc.enable()
