"""`make load`: call a stack at a rate, and show how long each endpoint took.

It runs in its own environment, with Locust, which sends the calls and draws the report.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tools.load.plan import RefusedError, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tools.load.plan import Plan

REPORT: Final = Path("build") / "load" / "report.html"
_TELL_SECONDS: Final = 10
# The token stands before `make`, so that it is not in an argument.
_USAGE: Final = "usage: TOKEN=$(cat .local/token) make load URL=http://127.0.0.1:3000 RATE=10 SECONDS=60 CONNECTIONS=20"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options, say what will be done, and do it.

    Parameters
    ----------
    arguments
        The options; those of the command line by default.

    Returns
    -------
    int
        0 if every call was answered as expected and nothing was left behind, otherwise 1. 2 for refused options.
    """
    parser = argparse.ArgumentParser(prog="make load", description=__doc__)
    parser.add_argument("--url", default="", help="the API's address: `ApiUrl` in the stack's outputs")
    parser.add_argument("--rate", type=float, default=10, help="calls a second")
    parser.add_argument("--seconds", type=int, default=60, help="how long")
    parser.add_argument("--connections", type=int, default=20, help="the most connections at once")
    options = parser.parse_args(arguments)
    try:
        # Not an option: other users of this machine can read those.
        asked = plan(options.url, os.environ.get("TOKEN", ""), options.rate, options.seconds, options.connections)
    except RefusedError as refused:
        print(f"error: {refused}", file=sys.stderr)
        print(_USAGE, file=sys.stderr)
        return 2
    print(asked.announcement(), flush=True)
    return _run(asked)


def _run(asked: Plan) -> int:
    # Imported late, so that a refusal is immediate.
    import gevent  # noqa: PLC0415
    import locust.stats  # noqa: PLC0415
    from locust import constant_throughput  # noqa: PLC0415
    from locust.env import Environment  # noqa: PLC0415
    from locust.html import get_html_report  # noqa: PLC0415

    from tools.load.connection import Connection, Run  # noqa: PLC0415
    from tools.load.results import Measured, table  # noqa: PLC0415
    from tools.load.scenario import any_group  # noqa: PLC0415

    run = Connection.run_ = Run(asked, any_group())
    Connection.host = asked.url
    Connection.wait_time = constant_throughput(asked.rate_of_a_connection)
    # The report's graphs have a point for each of these.
    locust.stats.HISTORY_STATS_INTERVAL_SEC = max(1, asked.seconds // 60)
    environment = Environment(user_classes=[Connection])
    environment.locustfile = "tools/load/scenario.py"
    runner = environment.create_local_runner()
    history = gevent.spawn(locust.stats.stats_history, runner)

    def stop() -> None:
        print("stopping, and deleting what was created", flush=True)
        run.stop()

    # A KeyboardInterrupt may come in a connection, which would then end without cleaning up.
    gevent.signal_handler(signal.SIGINT, stop)
    runner.start(asked.connections, spawn_rate=asked.connections)
    runner.spawning_greenlet.join()
    told = 0
    seconds, over = run.seconds, False
    # Connections end by themselves, each after it has cleaned up.
    while runner.user_count:
        gevent.sleep(0.1)
        if not over:
            seconds, over = run.seconds, run.over
        if seconds - told >= _TELL_SECONDS:
            told += _TELL_SECONDS
            print(f"{told:4} s: {run.sent:,} calls, {environment.stats.total.num_failures:,} errors", flush=True)
    runner.quit()
    history.kill()

    entries = sorted(environment.stats.entries.values(), key=lambda entry: str(entry.name))
    measured = [
        Measured(
            entry.name,
            entry.num_requests,
            entry.num_failures,
            (*(entry.get_response_time_percentile(part) for part in (0.5, 0.95, 0.99)), entry.max_response_time),
        )
        for entry in entries
    ]
    errors = sum(each.errors for each in measured)
    print(f"\n{run.sent:,} calls in {seconds:.0f} s: {run.sent / seconds:.1f} a second, asked for {asked.rate:g}")
    print(f"{errors:,} errors\n")
    print(table(measured))
    for error in environment.stats.errors.values():
        print(f"{error.name}: {error.occurrences:,} × {error.error}")
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(get_html_report(environment, show_download_link=False), encoding="utf-8")
    print(f"\nreport with graphs: {REPORT}")
    if run.left:
        print(f"error: up to {run.left} customers may be left, all in group {run.group}", file=sys.stderr)
    return 1 if errors or run.left else 0


if __name__ == "__main__":
    sys.exit(main())
