"""A token bucket, which is how API Gateway throttles a stage."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class TokenBucket:
    """Lets through `rate` requests a second, and `burst` at once.

    Parameters
    ----------
    rate
        Requests a second.
    burst
        Requests that may come together after a pause.
    clock
        Returns seconds.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = float(burst)
        self._filled_at = clock()

    def take(self) -> bool:
        """Whether one more request may pass. If so, count it."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._tokens + (now - self._filled_at) * self._rate, self._burst)
            self._filled_at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
