"""`make mutants` mutates every handler, and judges survivors by a readable list."""

from __future__ import annotations

import ast
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT
from tools.modules import module_at
from tools.mutants.accepted import AcceptedSurvivors, Survivor, change_in
from tools.mutants.working_copy import undecorated

if TYPE_CHECKING:
    from pathlib import Path

APPS = sorted(ROOT.glob("functions/*/app.py"))
DIFF = """\
--- layers/a.py
+++ layers/a.py
@@ -1,3 +1,3 @@
 def f():
-    return zip(a, b, strict=True)
+    return zip(a, b, )
"""


@pytest.mark.parametrize("app", APPS, ids=[app.parent.name for app in APPS])
def test_no_handler_is_left_decorated_and_each_is_what_it_was(app: Path) -> None:
    source = app.read_text(encoding="utf-8")
    before, after = ast.parse(source), ast.parse(undecorated(source))
    functions = {node.name: node for node in after.body if isinstance(node, ast.FunctionDef)}
    handled = functions.get("handle", functions.get("lambda_handler"))
    assert handled is not None
    assert not handled.decorator_list
    (handler,) = (node for node in before.body if getattr(node, "name", None) == "lambda_handler")
    assert isinstance(handler, ast.FunctionDef)
    assert list(map(ast.dump, handled.body)) == list(map(ast.dump, handler.body))
    wrapped = [f"lambda_handler = {ast.unparse(decorator)}(handle)" for decorator in handler.decorator_list]
    assert [line for line in ast.unparse(after).splitlines() if line.startswith("lambda_handler =")] == wrapped


def test_the_tests_load_a_handler_under_the_name_that_mutmut_gives_its_mutants() -> None:
    assert module_at(ROOT / "functions" / "preflight" / "app.py").__name__ == "functions.preflight.app"


def test_the_tests_that_mutants_are_tried_with_exist() -> None:
    settings = tomllib.loads((ROOT / "tools/mutants/settings.toml").read_text(encoding="utf-8"))
    for path in settings["tool"]["mutmut"]["pytest_add_cli_args_test_selection"]:
        assert (ROOT / path).exists(), path


def test_a_survivor_is_known_by_its_function_and_what_it_changes() -> None:
    survivor = Survivor("customers.store.customers.xǁCustomerStoreǁcreate__mutmut_43", change_in(DIFF))
    assert survivor.function == "customers.store.customers.CustomerStore.create"
    assert survivor.change == "return zip(a, b, strict=True) → return zip(a, b, )"
    assert Survivor("functions.list_group.app.x_handle__mutmut_7", "").function == "functions.list_group.app.handle"
    assert AcceptedSurvivors().reason(survivor)
    assert AcceptedSurvivors().reason(survivor._replace(change="return 1 → return 2")) is None
