"""Who makes the changes of tests."""

from __future__ import annotations

from typing import Final

from customers.store.author import Author

TESTER: Final = Author(token_id="tester")
