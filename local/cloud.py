"""The laptop cloud as a whole: engine, tables, functions, gateway, queues and buckets of one template."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.data_folder import DATABASE, ENDPOINTS, IMPORT_BUCKET, LOGS, TOKEN, DataFolder
from local.errors import LocalError
from local.events.import_bucket import LOGICAL_ID, ImportBucketFolder
from local.events.queues import QueuePoller
from local.events.streams import StreamPoller
from local.gateway.gateway import Gateway
from local.logs import shorten
from local.runtime.functions import FunctionPool
from local.services.aws import Services
from local.services.engine import Engine
from local.services.tables import create_tables
from local.template.document import Template
from local.template.stack import Stack, read_stack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from wsgiref.types import StartResponse, WSGIEnvironment

    from local.events.poller import Poller
    from local.gateway.responses import Response

_WATCH_INTERVAL: Final = 0.5
"""Seconds between two checks of the template."""
_POLL_END: Final = 1.5
"""Seconds for pollers to notice that they were stopped. Each waits for up to a second at a time."""
_FIRST_TOKEN: Final = Path(__file__).with_name("first_token.py")


@dataclass(frozen=True, slots=True)
class _Serving:
    """What runs for one version of the template."""

    pools: Mapping[str, FunctionPool]
    gateway: Gateway
    pollers: list[Poller]

    def follow(self, poller: Poller) -> None:
        """Start a poller that ends with the rest."""
        poller.start()
        self.pollers.append(poller)

    def close(self) -> None:
        """End it, and wait for its pollers to end."""
        self.stop()
        self.join()

    def stop(self) -> None:
        """End it. Functions that are still running are killed: their requests fail, their messages are retried."""
        for poller in self.pollers:
            poller.stop()
        for pool in self.pools.values():
            pool.close()

    def join(self) -> None:
        """Wait briefly for the pollers to end."""
        deadline = time.monotonic() + _POLL_END
        for poller in self.pollers:
            poller.join(max(deadline - time.monotonic(), 0))


class Cloud:
    """Serves a template, and reloads it when it changes.

    Parameters
    ----------
    template
        The SAM template.
    parameters
        Values that replace its parameters' defaults.
    data
        Folder for all data. Only one service at a time can use it.
    packages
        The folder `node_modules`.
    url
        The service's address, written down for other programs.
    in_memory
        Whether all data is deleted, now and at the end.

    Raises
    ------
    LocalError
        If it cannot start.
    """

    def __init__(  # noqa: PLR0913 - the options of the command line
        self, template: Path, parameters: Mapping[str, str], data: Path, packages: Path, *, url: str, in_memory: bool
    ) -> None:
        self._template = template
        self._parameters = parameters
        self.data = data
        self._url = url
        self._started = int(time.time())
        self._logs = data / LOGS
        self._services: Services | None = None
        self._import_bucket: ImportBucketFolder | None = None
        with ExitStack() as started:
            self._folder = DataFolder(data, temporary=in_memory)
            started.callback(self._folder.close)
            self._stack_id = _stack_id(data / "stack-id")
            modified = _modified(template)
            stack = self._read()
            self._engine = Engine(packages, None if in_memory else data / DATABASE, self._logs / "dynamodb.log")
            started.callback(self._engine.close)
            if not in_memory:
                self._folder.remember(data / DATABASE)
            started.callback(self._close_services)
            pools = self._prepare(stack)
            # The services start in the meantime.
            self.token = self._make_token(stack, pools)
            self._serving = self._serve(stack, pools)
            self._write_endpoints(stack)
            self._seen = (modified, self._services_started())
            started.callback(self._serving.close)
            self._consume(stack, self._serving)
            started.pop_all()
        self._closing = threading.Event()
        self._reloading = threading.Lock()
        self._next_look = time.monotonic() + _WATCH_INTERVAL
        self._said = ""
        # Requests look for changes too, but a service that only handles events gets none.
        threading.Thread(target=self._watch, name="template", daemon=True).start()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        self._look_for_changes()
        return self._serving.gateway(environ, start_response)

    def http_error(self, status: int, path: str) -> Response:
        """Answer a request that is not well formed, or one that failed in the gateway itself.

        Parameters
        ----------
        status
            The status that the HTTP server suggests.
        path
            The request's path, as far as it was understood.
        """
        match status:
            case 413:
                return self._serving.gateway.refusal("REQUEST_TOO_LARGE", "Request Too Long", path=path)
            case 500:
                return self._serving.gateway.refusal("DEFAULT_5XX", "Internal server error", path=path)
            case _:
                return self._serving.gateway.refusal("DEFAULT_4XX", "Bad Request", path=path)

    @property
    def functions(self) -> Iterable[str]:
        """The functions' names."""
        return self._serving.pools

    def shown_path(self, path: str) -> str:
        """Return a path as the request log may show it."""
        return self._serving.gateway.shown_path(path)

    def look_after_data(self) -> None:
        """Keep the logs small, and say when the disk is full.

        Raises
        ------
        LocalError
            If the data was removed: anything written from now on would be lost.
        """
        if (lost := self._folder.lost()) is not None:
            raise LocalError(
                f"{lost} was deleted or replaced while the service was running. The service stopped, because it could "
                "no longer save anything. Start it again: make run"
            )
        if self._folder.full():
            self._say(f"the disk that holds {self.data} is full, so writes fail: free some space")
        try:
            shorten(self._logs)
        except OSError as error:
            self._say(f"the logs cannot be shortened: {error}")

    def close(self) -> None:
        """End everything that was started."""
        self._closing.set()
        # Never released: neither the watcher nor a request that is still running may start anything from now on.
        self._reloading.acquire()
        self._serving.stop()
        # Before waiting for the pollers: one that waits for a hanging server ends with it.
        self._close_services()
        self._engine.close()
        self._serving.join()
        # Nothing listens there any more.
        (self.data / ENDPOINTS).unlink(missing_ok=True)
        self._folder.close()

    def _services_started(self) -> int:
        return 0 if self._services is None else self._services.starts

    def _close_services(self) -> None:
        if self._import_bucket is not None:
            self._import_bucket.stop()
        if self._services is not None:
            self._services.close()
        if self._import_bucket is not None:
            self._import_bucket.join(_POLL_END)

    def _read(self) -> Stack:
        return read_stack(Template(self._template, self._parameters, stack_id=self._stack_id))

    def _prepare(self, stack: Stack) -> dict[str, FunctionPool]:
        """Start what serves a stack, and return its functions. Until `_serve`, they can use only the tables."""
        if stack.events and self._services is None:
            self._services = Services(self._logs / "services.log", self.data / "events.jsonl")
        create_tables(self._engine.endpoint, stack.tables)
        endpoints = self._endpoints()
        pools = {name: FunctionPool(function, endpoints, self._logs) for name, function in stack.functions.items()}
        for pool in pools.values():
            # Install the layers' packages now, not during the first request.
            _ = pool.paths
        return pools

    def _serve(self, stack: Stack, pools: Mapping[str, FunctionPool]) -> _Serving:
        if self._services is not None:
            self._services.declare(stack.events)
        return _Serving(pools, Gateway(stack.api, pools), [])

    def _endpoints(self) -> dict[str, str]:
        """Return the endpoint variables."""
        dynamodb = self._engine.endpoint
        # All endpoints are on this machine, so that no function can reach a real account.
        other = dynamodb if self._services is None else self._services.endpoint
        return {
            "AWS_ENDPOINT_URL": other,
            "AWS_ENDPOINT_URL_DYNAMODB": dynamodb,
            # SDKs read EVENTBRIDGE.
            **{f"AWS_ENDPOINT_URL_{name}": other for name in ("EVENTBRIDGE", "EVENTS", "S3", "SQS")},
        }

    def _write_endpoints(self, stack: Stack) -> None:
        """Write the endpoints to a file, for other programs."""
        known: dict[str, str] = {"dynamodb": self._engine.endpoint}
        if self._services is not None:
            known["aws"] = self._services.endpoint
        # For tools that manage tokens or import files, and for tests that look into tables and queues.
        described = {
            "url": self._url,
            "pid": os.getpid(),
            "started": self._started,
            "functions": sorted(stack.functions),
        }
        text = json.dumps({**known, **described, "outputs": stack.outputs})
        partial = self.data / f"{ENDPOINTS}.partial"
        partial.write_text(f"{text}\n", encoding="ascii")
        partial.replace(self.data / ENDPOINTS)

    def _consume(self, stack: Stack, serving: _Serving) -> None:
        if self._services is None:
            return
        services = self._services
        for consumer in stack.events.consumers:
            serving.follow(QueuePoller(consumer, serving.pools[consumer.function], services.sqs))
        for stream in stack.events.stream_consumers:
            pool, folder = serving.pools[stream.function], self.data / "streams"
            serving.follow(StreamPoller(stream, pool, self._engine.endpoint, services.sqs, folder))
        # Keep it when the template changes, so that files that were uploaded are not imported again.
        if self._import_bucket is None:
            for bucket in stack.events.buckets:
                if bucket.logical_id == LOGICAL_ID:
                    self._import_bucket = ImportBucketFolder(self.data / IMPORT_BUCKET, services.s3, bucket.name)
                    self._import_bucket.start()

    def _make_token(self, stack: Stack, pools: Mapping[str, FunctionPool]) -> Path | None:
        for authorizer in stack.api.authorizers.values():
            pool = pools[authorizer.function]
            if "TOKENS_TABLE" in pool.environment:
                file = self.data / TOKEN
                command = [sys.executable, "-I", "-S", str(_FIRST_TOKEN), str(file), *pool.paths]
                done = subprocess.run(  # noqa: S603 - our own code
                    command, env=pool.environment, check=False, capture_output=True, text=True
                )
                if done.returncode:
                    raise LocalError(f"the first token cannot be made:\n{done.stderr}")
                return file
        return None

    def _say(self, text: str) -> None:
        # Only once: the next check may find the same.
        if text != self._said:
            self._said = text
            print(text, file=sys.stderr, flush=True)  # noqa: T201 - to the terminal

    def _watch(self) -> None:
        while not self._closing.wait(_WATCH_INTERVAL):
            self._look_for_changes()

    def _look_for_changes(self) -> None:
        if time.monotonic() < self._next_look or not self._reloading.acquire(blocking=False):
            return
        try:
            self._next_look = time.monotonic() + _WATCH_INTERVAL
            modified, started = seen = (_modified(self._template), self._services_started())
            if seen == self._seen:
                return
            old = self._serving
            try:
                stack = self._read()
                new = self._serve(stack, self._prepare(stack))
                self._write_endpoints(stack)
            except LocalError as error:
                self._say(f"the template's change is not served: {error}")
                # Do not retry the same faulty template. Services that died must still be declared again.
                self._seen = (modified, self._seen[1])
                return
            self._said = ""
            died = started != self._seen[1]
            # The template may be the first to need services. If services died meanwhile, the next check notices.
            self._seen = (modified, started or self._services_started())
            self._serving = new
            # Requests that the old functions are still handling are answered as if the function had crashed.
            old.close()
            self._consume(stack, new)
            if died and self._import_bucket is not None:
                # The services lost what they held, so files are uploaded again. Not sooner: files that came into the
                # bucket before its notifications were declared went unnoticed.
                self._import_bucket.forget()
        finally:
            self._reloading.release()


def _modified(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _stack_id(file: Path) -> str:
    """Return the stack's ARN. Each data folder gets its own, as each deployed stack does."""
    if not file.exists():
        file.write_text(f"arn:aws:cloudformation:us-east-1:123456789012:stack/local/{uuid.uuid4()}\n", encoding="ascii")
    return file.read_text(encoding="ascii").strip()
