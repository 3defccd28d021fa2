"""The compiled rules, which only deployed functions use, judge like those that pydantic makes from the declaration."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from pydantic_core import SchemaValidator

from customers import derived
from customers.customer import NewCustomer
from tools.modules import module_at

if TYPE_CHECKING:
    from types import ModuleType

LAYER: Final = Path(__file__).parents[2] / "layers" / "customers"
EXAMPLES: Final = int(os.environ.get("COMPILED_EXAMPLES", "1000"))
"""Values that the rules judge: COMPILED_EXAMPLES=100000 .venv/bin/python -m pytest tests/unit/test_compiled.py"""

TEXTS: Final = st.text(max_size=130) | st.sampled_from(
    ["", " ", "John", "a\nb", "\x7f", "\ud800", "x" * 100, "x" * 101, "a@b.example", "a@B\u00fc.example", "a@", "@"]
)
NUMBERS: Final = st.integers() | st.sampled_from([-1, 0, 1, 150, 151, 2**53 - 1, 2**53, 10**30])
VALUES: Final = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | TEXTS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXTS, values, max_size=3),
    max_leaves=5,
)
NAMES: Final = [field[0] for field in derived.FIELDS]
VALID: Final = {"first_name": "John", "last_name": "Doe", "email": "john@example.com", "group_id": 1}
CUSTOMERS: Final = st.builds(
    lambda base, changes: {**base, **changes},
    st.sampled_from([VALID, {}]),
    st.dictionaries(st.sampled_from([*NAMES, "id", "phone"]) | TEXTS, VALUES, max_size=4),
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """Return what the layer's build writes."""
    file = tmp_path_factory.mktemp("compiled") / "_compiled.py"
    program = [sys.executable, "-B", str(LAYER / "compile_customer.py"), str(file)]
    subprocess.run(program, check=True, env={**os.environ, "PYTHONPATH": str(LAYER)})
    return module_at(file)


def judged(validator: SchemaValidator | TypeAdapter[NewCustomer], value: Any) -> Any:
    try:
        return validator.validate_python(value)
    except ValidationError as error:
        return error.errors(include_url=False)


def test_the_fields_are_the_same(compiled: ModuleType) -> None:
    assert compiled.FIELDS == derived.FIELDS


def test_any_value_is_judged_alike(compiled: ModuleType) -> None:
    # NaN is not equal to itself, so results are compared as text.
    ours, pydantics = SchemaValidator(compiled.rules()), TypeAdapter(NewCustomer)

    @settings(max_examples=EXAMPLES)
    @given(CUSTOMERS | VALUES)
    def compare(value: Any) -> None:
        assert repr(judged(ours, value)) == repr(judged(pydantics, value))

    compare()
