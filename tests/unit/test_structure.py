"""Files and functions stay small enough to read at once. `make check` enforces which package may import which."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
FILE_LINES: Final = 350
FUNCTION_LINES: Final = 40
"""Without the docstring."""
FILES: Final = sorted(
    file
    for folder in ("layers/customers/customers", "functions", "local", "cli")
    for file in (ROOT / folder).rglob("*.py")
)


def long_functions(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            head = node.body[0].lineno - node.lineno
            if (node.end_lineno or 0) - first.lineno + 1 + head > FUNCTION_LINES:
                found.append(node.name)
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_and_its_functions_are_short(file: Path) -> None:
    source = file.read_text()
    assert len(source.splitlines()) <= FILE_LINES
    assert long_functions(source) == []


def test_a_long_function_is_found() -> None:
    body = "    pass\n" * FUNCTION_LINES
    assert long_functions(f"def short():\n{body[:-9]}") == []
    assert long_functions(f"class A:\n  def long(self):\n{body.replace('    ', '      ')}") == ["long"]
