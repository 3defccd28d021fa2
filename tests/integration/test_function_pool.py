"""A function's processes end with their pool, at whatever moment that is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from local.errors import FunctionCrashedError
from local.runtime.functions import MAX_PROCESSES, FunctionPool
from local.template.stack import Function
from tests.api.support import remaining, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.cloud

_REPORT = "import os, pathlib, time\npathlib.Path('pid.partial').write_text(str(os.getpid()))\n"
_REPORT += "os.rename('pid.partial', 'pid')\n"
_HANGS = "time.sleep(600)\n"
_IMPORTING = f"{_REPORT}{_HANGS}"
_RUNNING = f"import os, pathlib, time\ndef handler(event, context):\n    exec({_REPORT + _HANGS!r})\n"


@pytest.mark.parametrize("code", [_IMPORTING, _RUNNING], ids=["importing", "running"])
def test_closing_a_pool_ends_what_is_on_its_way(tmp_path: Path, code: str) -> None:
    (tmp_path / "app.py").write_text(code)
    function = Function("Hangs", "arn", "app.handler", tmp_path, (), {}, 512, 600.0, "JSON", "INFO")
    pool = FunctionPool(function, {}, tmp_path)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(pool.invoke, b"{}", 600.0)
        wait_until((tmp_path / "pid").exists)
        pid = int((tmp_path / "pid").read_text())
        assert remaining([pid])
        pool.close()
        assert not remaining([pid])
        assert isinstance(call.exception(timeout=60), FunctionCrashedError)
    with pytest.raises(FunctionCrashedError):
        pool.invoke(b"{}", 600.0)


def test_a_function_that_cannot_be_imported_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(f"{_REPORT}raise ValueError('no')\n")
    function = Function("Fails", "arn", "app.handler", tmp_path, (), {}, 512, 600.0, "JSON", "INFO")
    pool = FunctionPool(function, {}, tmp_path)
    # More often than it may have processes.
    for _ in range(MAX_PROCESSES + 1):
        with pytest.raises(Exception, match="ValueError: no"):
            pool.invoke(b"{}", 600.0)
        assert not remaining([int((tmp_path / "pid").read_text())])
    pool.close()
