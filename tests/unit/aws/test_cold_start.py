"""Modules that are loaded late are there for any code that uses them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from customers.aws import cold_start


@pytest.mark.parametrize(
    "use",
    [
        "import shutil; assert shutil.which",
        "from shutil import which",
        "from textwrap import *; assert dedent",
        "import jmespath; assert jmespath.search('a', {'a': 1}) == 1",
        "import jmespath.exceptions; assert jmespath.exceptions.LexerError",
        "from jmespath.exceptions import LexerError",
        "import signal; assert signal.SIGTERM; import signal; assert signal.SIGTERM",
    ],
)
def test_a_late_module_is_loaded_when_it_is_used(use: str) -> None:
    name = next(name for name in cold_start.LATE if name in use)
    program = f"""
import sys
import customers.aws.cold_start
assert isinstance(sys.modules["{name}"], customers.aws.cold_start.Late)
{use}
import {name}
assert not isinstance(sys.modules["{name}"], customers.aws.cold_start.Late)
"""
    subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{program}"], check=True)


def test_whoever_asks_for_a_name_gets_the_modules_own_and_then_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    standing_for = cold_start.Late("textwrap")
    monkeypatch.setitem(sys.modules, "textwrap", standing_for)
    assert standing_for.dedent("  a") == "a"
    loaded = sys.modules["textwrap"]
    assert loaded is not standing_for
    # Code that has kept the stand-in gets the names of the same module, and the module stays.
    assert standing_for.indent is loaded.indent
    assert sys.modules["textwrap"] is loaded


def test_what_a_module_lacks_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'textwrap' has no attribute 'nothing'"):
        _ = cold_start.Late("textwrap").nothing


def test_modules_that_are_loaded_stay() -> None:
    # This process imported pytest first.
    assert not isinstance(sys.modules["shutil"], cold_start.Late)
