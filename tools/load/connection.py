"""A connection of the load test, as Locust runs it. Importing Locust makes Python's sockets wait without blocking."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, ClassVar

import gevent
from locust import task
from locust.contrib.fasthttp import FastHttpUser
from locust.exception import StopUser

from tools.load.scenario import Answer, Life

if TYPE_CHECKING:
    from tools.load.plan import Plan
    from tools.load.scenario import Call, Calls


class Run:
    """What all connections share: how many calls they have sent, when they end, and what was left behind.

    Parameters
    ----------
    plan
        What was asked for.
    group
        The group of all customers of this run.
    """

    def __init__(self, plan: Plan, group: int) -> None:
        self.plan = plan
        self.group = group
        self.sent = 0
        self.left = 0
        self.started = time.monotonic()
        self._stopped = False

    @property
    def seconds(self) -> float:
        """Seconds since it started."""
        return time.monotonic() - self.started

    @property
    def over(self) -> bool:
        """Whether no more calls may be sent."""
        return self._stopped or self.sent >= self.plan.calls or self.seconds >= self.plan.seconds

    def stop(self) -> None:
        """End it early."""
        self._stopped = True

    def take(self) -> None:
        """Take one of the calls.

        Raises
        ------
        StopUser
            None is left, so the connection cleans up and ends. Locust must not end it: it would kill its greenlet, and
            the next call, which cleans up, would wait for its own socket for ever.
        """
        if self.over:
            raise StopUser
        self.sent += 1


class Connection(FastHttpUser):  # type: ignore[misc]  # Locust is in its own environment
    """Sends one call after another, each when it is due and the one before it was answered."""

    run_: ClassVar[Run]
    _next: Call
    # By default, Locust accepts any certificate, and follows redirects with the token to anywhere.
    insecure = False
    max_redirects = 0
    concurrency = 1
    connection_timeout = 10
    # Longer than the gateway waits (29 seconds), because its 504 is an answer.
    network_timeout = 40

    def on_start(self) -> None:
        """Begin at a random time within the first interval, so that the connections take turns."""
        self._begin()
        gevent.sleep(random.uniform(0, 1 / self.run_.plan.rate_of_a_connection))

    @task  # type: ignore[untyped-decorator]
    def step(self) -> None:
        """Send the next call of a life, and begin another life after its last."""
        self.run_.take()
        answer = self._send(self._next)
        try:
            self._next = self._calls.send(answer)
        except StopIteration:
            self.run_.left += self._life.left
            self._begin()

    def _begin(self) -> None:
        self._life = Life(self.run_.group)
        self._calls: Calls = self._life.calls()
        self._next = next(self._calls)

    def on_stop(self) -> None:
        """Delete what this connection has created."""
        calls = self._life.clean_up()
        try:
            call = next(calls)
            while True:
                call = calls.send(self._send(call))
        except StopIteration:
            self.run_.left += self._life.left

    def _send(self, call: Call) -> Answer:
        headers = {"Authorization": f"Bearer {self.run_.plan.token}", **call.headers}
        data = None
        if call.body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(call.body)
        with self.client.request(
            call.method,
            call.path,
            name=call.endpoint,
            data=data,
            headers=headers,
            catch_response=True,
            allow_redirects=False,
        ) as response:
            if response.status_code not in call.right:
                # Not the text of an exception: it may contain the path, and so an address.
                response.failure(_reason(response.error) if response.status_code == 0 else str(response.status_code))
                return Answer(response.status_code)
            response.success()
            try:
                return Answer(response.status_code, json.loads(response.text), response.headers.get("ETag", ""))
            except ValueError:
                response.failure("not JSON")
                return Answer(0)


def _reason(error: BaseException | None) -> str:
    """Return why there is no answer: Locust's client says only that it did not try again."""
    if error is None:
        return "no answer"
    return type(getattr(error, "original", None) or error).__name__
