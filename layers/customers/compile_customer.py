"""Compiles the declaration of the customer: `build.py` runs it with the layer's packages on the path.

The core schema that pydantic builds from the declaration is plain data, apart from the functions that check a value.
Written out as Python source, it needs only pydantic-core in the deployed functions, not pydantic, whose import takes
longer than everything else that a cold start does (docs/performance.md).
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FunctionType

from customers import derived


def source() -> str:
    """Return the source of `customers._compiled`."""
    modules: set[str] = set()
    fields, rules = _literal(derived.FIELDS, modules), _literal(derived.rules(), modules)
    # Inside the function, because only validation needs them.
    imports = "".join(f"    import {module}\n" for module in sorted(modules))
    return f"FIELDS = {fields}\n\n\ndef rules():\n{imports}    return {rules}\n"


def _literal(value: object, modules: set[str]) -> str:
    """Return a value as Python source, and note the modules that the source needs.

    Raises
    ------
    TypeError
        The value cannot be written as source: pydantic has added something new to its schemas.
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_literal(part, modules)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        parts = "".join(f"{_literal(part, modules)}, " for part in value)
        return f"[{parts}]" if isinstance(value, list) else f"({parts})"
    if isinstance(value, FunctionType) and "<" not in value.__qualname__:
        modules.add(value.__module__)
        return f"{value.__module__}.{value.__qualname__}"
    if value is None or isinstance(value, str | int | float):
        return repr(value)
    raise TypeError(f"{value!r} cannot be written as source")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(source(), encoding="utf-8")
