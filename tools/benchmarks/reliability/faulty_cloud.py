"""The laptop cloud, whose functions reach their services by other addresses.

The environment's FUNCTION_ENDPOINTS, a JSON object, has the values of the functions' endpoint variables.
"""

from __future__ import annotations

import json
import os
import sys

import local.__main__
from local.cloud import Cloud


class FaultyCloud(Cloud):
    """The laptop cloud, with proxies before its services."""

    def _endpoints(self) -> dict[str, str]:
        others: dict[str, str] = json.loads(os.environ["FUNCTION_ENDPOINTS"])
        return {**super()._endpoints(), **others}


if __name__ == "__main__":
    local.__main__.Cloud = FaultyCloud  # type: ignore[attr-defined]  # the one class that main starts
    sys.exit(local.__main__.main())
