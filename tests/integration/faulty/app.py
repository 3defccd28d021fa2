"""A function whose calls to the store can be made to fail: the real one, between whose client and the network this is.

The event's `fault` says what happens, and at which call (counted from 0). The process is
killed, or hangs until its time is up, before or after the store has done its part. Or the request or the answer gets
lost, once or for the rest of the invocation. The calls are appended to the fault's `calls_file`.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
from pathlib import Path
from typing import Any

from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from botocore.httpsession import URLLib3Session

_fault: dict[str, Any] = {}
_calls: list[str] = []
_real_store = URLLib3Session()


def _load_app() -> Any:
    spec = importlib.util.spec_from_file_location("real_app", Path(os.environ["REAL_CODE"]) / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _send(request: Any) -> Any:
    _calls.append(request.headers["X-Amz-Target"].rpartition(".")[2])
    with Path(_fault["calls_file"]).open("a", encoding="ascii") as file:
        file.write(_calls[-1] + "\n")
    kind, later = _fault["kind"], len(_calls) - 1 - _fault["call"]
    if kind is None or later < 0 or (later > 0 and kind != "outage"):
        return _real_store.send(request)
    if kind != "outage":
        _fault["kind"] = None
    if kind == "lost request":
        raise ConnectionClosedError(endpoint_url="store")
    if kind in {"kill before", "hang before"}:
        _end(kind)
    response = _real_store.send(request)
    if kind in {"kill after", "hang after"}:
        _end(kind)
    assert response is not None
    raise ReadTimeoutError(endpoint_url="store")


def _end(kind: str) -> None:
    if kind.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


app = _load_app()
# The function's own client.
client = getattr(app, "client", None) or app.store._table.client  # noqa: SLF001
client._endpoint.http_session.send = _send  # noqa: SLF001


def lambda_handler(event: dict[str, Any], context: object) -> Any:
    _fault.clear()
    _fault.update(event.pop("fault"))
    _calls.clear()
    return app.lambda_handler(event, context)
