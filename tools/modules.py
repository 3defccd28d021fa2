"""Loads files that no package holds, such as the functions' `app.py`."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


def module_at(file: Path) -> ModuleType:
    """Run a file as a module of its own, anew at each call.

    Its name is the end of its path, such as functions.preflight.app. That is how `make mutants` knows it.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    """
    spec = importlib.util.spec_from_file_location(".".join(file.with_suffix("").parts[-3:]), file)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
