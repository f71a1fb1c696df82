"""When to try again, and how long to wait before."""

from __future__ import annotations

import logging
import math
import random
import time
from dataclasses import dataclass

from denoised.errors import Cancelled, Error, Unavailable

_log = logging.getLogger("denoised")


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How calls that meet UNAVAILABLE are tried again.

    The wait is what the server asks for. Without that it begins with `initial_backoff_seconds` and
    doubles up to `max_backoff_seconds`, less a random part of up to half of it.
    """

    #: Of one call, the first included. 1: never retry.
    max_attempts: int = 4
    initial_backoff_seconds: float = 0.2
    max_backoff_seconds: float = 5.0
    #: How long a stream that has broken tries to continue. 0: not at all.
    reconnect_seconds: float = 600.0


class Deadline:
    """A point in time that calls share; `timeout` is in seconds from now, None for never."""

    def __init__(self, timeout: float | None) -> None:
        self._at = math.inf if timeout is None else time.monotonic() + timeout

    def remaining(self) -> float | None:
        """Seconds, as gRPC takes them: at least 0, None for no limit."""
        return None if math.isinf(self._at) else max(0.0, self._at - time.monotonic())


class Attempts:
    """The attempts at one call or stream. Not thread-safe."""

    def __init__(self, retry: Retry, deadline: Deadline) -> None:
        self._retry = retry
        self._deadline = deadline
        self._has_answered = False
        self._failures = 0  # since the last answer
        self._first_failure_at = 0.0
        #: What broke a stream that had answered. None while it has not broken.
        self.broken_by: Error | None = None

    def answered(self) -> None:
        """The stream has sent something."""
        self._has_answered = True
        self._failures = 0
        self.broken_by = None

    def wait_seconds(self, error: Error, *, or_cancelled: bool = False) -> float:
        """How long to wait after an attempt that failed with `error`.

        With `or_cancelled`, CANCELLED counts as UNAVAILABLE for `max_attempts` attempts: a server
        that does so again and again is not closing.

        Raises:
            Error: `error`, if nothing more should be tried.
        """
        was_closing = or_cancelled and self._failures < self._retry.max_attempts
        if not isinstance(error, Unavailable) and not (
            isinstance(error, Cancelled) and was_closing
        ):
            raise error
        if self._failures == 0:
            self._first_failure_at = time.monotonic()
        self._failures += 1
        if self._has_answered and self.broken_by is None:
            self.broken_by = error
        wait = self._backoff_seconds() if error.retry_after is None else error.retry_after
        remaining = self._deadline.remaining()
        if self._is_last() or (remaining is not None and remaining <= wait):
            raise error
        _log.info("waiting %.3f s before the next attempt: %s", wait, error)
        return wait

    def _is_last(self) -> bool:
        if self._has_answered:
            waited = time.monotonic() - self._first_failure_at
            return waited >= self._retry.reconnect_seconds
        return self._failures >= self._retry.max_attempts

    def _backoff_seconds(self) -> float:
        retry = self._retry
        wait = retry.initial_backoff_seconds * 2.0 ** min(self._failures - 1, 30)
        return min(wait, retry.max_backoff_seconds) * random.uniform(0.5, 1)
