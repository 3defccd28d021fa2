"""Tests of the API on the deployed stack: those that do not need what the emulator lacks (docs/deploy.md)."""

from tests.api.test_customers import *  # noqa: F403 (all of them)
from tests.api.test_groups import (  # noqa: F401 (pytest finds them here)
    cursors,
    people,
    test_a_cursor_of_another_group_is_refused,
    test_a_group_is_sorted_as_the_contract_says,
    test_a_group_without_customers_is_not_found,
)
