"""`python -m local`: serves the template in the current folder, on this machine and only for its user."""

from __future__ import annotations

import argparse
import ctypes
import gc
import logging
import os
import shlex
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.cloud import Cloud
from local.data_folder import IN_MEMORY, unusable
from local.demo import create_demo
from local.errors import LocalError
from local.reference import Reference, write_reference
from local.server import HOST, Server, bind

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_PORT: Final = 65_535
_SWITCH_INTERVAL: Final = 0.0005
"""Seconds that a busy thread can hold up a request: the pollers share this process with the gateway."""
_NEW_OBJECTS: Final = 50_000
"""Between two runs of the garbage collector. With Python's 2,000, it took a fifteenth of the gateway's time."""
_M_ARENA_MAX: Final = -8
"""From glibc's malloc.h."""
_PACKAGES: Final = Path("node_modules")
_LOOK_AFTER: Final = 0.5
"""Seconds between two checks of the data folder."""
# A call that succeeds on an empty table and leaves nothing behind.
_EXAMPLE: Final = (
    """curl -s -X POST -H "Authorization: Bearer $(cat {token})" -H 'Content-Type: application/json' """
    """-d '{{"first_name":"John","last_name":"Doe","email":"john.doe@example.com","group_id":1}}' """
    """'{url}/api/customers/?size=one&dry_run=true'"""
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM.

    Returns
    -------
    int
        The exit code: 0 after a signal, 1 if it cannot start or continue.
    """
    options = _parser().parse_args(arguments)
    # Files that this process and its children create are private to the user.
    os.umask(0o077)
    stop = threading.Event()
    ready = threading.Event()

    def end(*_: object) -> None:
        # Nothing that start-up waits for (pip, the engine) may delay the end. A second signal must not disturb it.
        if not stop.is_set():
            stop.set()
            if not ready.is_set():
                sys.exit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    _forget_accounts()
    _keep_memory_together()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    logging.basicConfig(format="%(message)s")
    # A request that waits for a function's process is not worth a log line.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    try:
        _serve(options, ready, stop)
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201 - to the terminal
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make run ARGS=…", description="Serve template.yaml on this machine.", usage="make run ARGS='[options]'"
    )
    parser.add_argument("--template", type=Path, default=Path("template.yaml"), help="default: %(default)s")
    parser.add_argument(
        "--parameter", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the template; repeatable"
    )
    parser.add_argument(
        "--in-memory", action="store_true", help="start empty and keep nothing; leave existing data alone"
    )
    parser.add_argument(
        "--demo", action="store_true", help="create 500 made-up customers in groups 1 to 5, unless they exist"
    )
    parser.add_argument("--quiet", action="store_true", help="do not print a line for each request")
    return parser


def _serve(options: argparse.Namespace, ready: threading.Event, stop: threading.Event) -> None:
    data = Path(os.environ.get("DATA_DIR") or ".local")
    if options.in_memory:
        data /= IN_MEMORY
    with bind(_port()) as listening:
        url = f"http://{HOST}:{listening.getsockname()[1]}"
        try:
            cloud = Cloud(
                options.template,
                _pairs(options.parameter),
                data,
                _PACKAGES,
                url=url,
                in_memory=options.in_memory,
            )
        except OSError as error:
            raise unusable(data, error) from error
        ready.set()
        _collect_seldom()
        docs = options.template.parent / "docs"
        # Only the project's own template has a reference.
        has_reference = (docs / "openapi.yaml").exists()
        log = None if options.quiet else sys.stderr
        server = Server(cloud, _with_reference(cloud, docs) if has_reference else cloud, listening, log)
        try:
            print(f"address  {url}")  # noqa: T201 - to the terminal
            if has_reference:
                print(f"docs     {url}/docs")  # noqa: T201
            print(f"data     {data}{', deleted at the end' if options.in_memory else ''}")  # noqa: T201
            if cloud.token is not None:
                print(f"token    {cloud.token}")  # noqa: T201
                print(f"try      {_EXAMPLE.format(token=shlex.quote(str(cloud.token)), url=url)}")  # noqa: T201
                if options.demo:
                    print(f"demo     {create_demo(url, cloud.token)} customers created")  # noqa: T201
            print(f"ready    {url}", flush=True)  # noqa: T201
            while not stop.wait(_LOOK_AFTER):
                cloud.look_after_data()
        finally:
            server.close()
            cloud.close()


def _with_reference(cloud: Cloud, docs: Path) -> Reference:
    folder = cloud.data / "reference"
    write_reference(docs, folder, _PACKAGES)
    return Reference(cloud, folder, cloud.token)


def _port() -> int:
    text = os.environ.get("PORT") or "3000"
    if not text.isdecimal() or int(text) > _MAX_PORT:
        raise LocalError(f"PORT is {text}: a port is a number from 0 (any free port) to {_MAX_PORT}")
    return int(text)


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if wrong := [key for key, separator, _ in pairs if not separator]:
        raise LocalError(f"--parameter {wrong[0]}: write it as KEY=VALUE")
    return {key: value for key, _, value in pairs}


def _forget_accounts() -> None:
    """Ignore the user's own AWS settings: nothing here may reach, or depend on, a real account."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


def _collect_seldom() -> None:
    """Let the garbage collector ignore the objects made at start-up, and run as rarely as in the functions."""
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)


def _keep_memory_together() -> None:
    """Let all threads allocate from one arena. Otherwise each would keep the memory of the large bodies it has read."""
    # Other systems have neither this setting nor this problem.
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


if __name__ == "__main__":
    sys.exit(main())
