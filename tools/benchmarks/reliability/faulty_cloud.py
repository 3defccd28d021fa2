"""The laptop cloud, whose functions reach their services at other addresses.

The environment variable FUNCTION_ENDPOINTS, a JSON object, has the values of the functions' endpoint variables.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import local.__main__
from local.cloud import Cloud

if TYPE_CHECKING:
    from local.runtime.functions import FunctionPool
    from local.template.stack import Stack


class FaultyCloud(Cloud):
    """The laptop cloud, with proxies in front of its services."""

    def _endpoints(self) -> dict[str, str]:
        others: dict[str, str] = json.loads(os.environ["FUNCTION_ENDPOINTS"])
        return {**super()._endpoints(), **others}

    def _prepare(self, stack: Stack) -> dict[str, FunctionPool]:
        pools = super()._prepare(stack)
        # The proxies find the store's address there, and creating the first token needs the proxies.
        self._write_endpoints(stack)
        return pools


if __name__ == "__main__":
    local.__main__.Cloud = FaultyCloud  # type: ignore[attr-defined]  # the one class that main starts
    sys.exit(local.__main__.main())
