"""Looks at a server regularly."""

import threading
import time
from dataclasses import dataclass

from soaked_server import Usage

INTERVAL_SECONDS = 0.5
CREATED = "denoised_call_states_created_total"
DESTROYED = "denoised_call_states_destroyed_total"
# What these count is work that the server has still to do.
WORK = (
    "denoised_active_rows",
    "denoised_queue_depth",
    "denoised_decode_queue",
    "denoised_running_jobs",
)
# Of the connection that /metrics is read on.
OWN_STATES = {"http_connection": 1, "http_request": 1}


@dataclass(frozen=True)
class Sample:
    seconds: float  # since the sampler began
    usage: Usage
    created: dict  # state of calls, by kind, so far
    destroyed: dict
    evaluations: int  # of networks, so far
    given_up: int  # calls that nobody read, so far
    work: float  # to do

    def alive(self):
        """State that is not destroyed, by kind, without what reading /metrics takes."""
        states = {
            kind: int(self.created[kind] - self.destroyed[kind] - OWN_STATES.get(kind, 0))
            for kind in self.created
        }
        return {kind: count for kind, count in states.items() if count != 0}


class Sampler:
    """Has a thread of its own until `stop`."""

    def __init__(self, server):
        self._server = server
        self._start = time.monotonic()
        self._condition = threading.Condition()
        self._samples = []  # guarded by the condition, as the next
        self._error = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def samples(self):
        with self._condition:
            return list(self._samples)

    def next(self):
        """Waits for a sample that is taken from now on. Raises what keeps the sampler from that."""
        with self._condition:
            seen = len(self._samples)
            self._condition.wait_for(lambda: self._error or len(self._samples) > seen + 1)
            if self._error:
                raise self._error
            return self._samples[-1]

    def stop(self):
        self._stopped.set()
        self._thread.join()

    def _run(self):
        while not self._stopped.wait(INTERVAL_SECONDS):
            try:
                sample, error = self._sample(), None
            except Exception as failure:  # the server has died, say
                sample, error = None, failure
            with self._condition:
                if sample:
                    self._samples.append(sample)
                self._error = error
                self._condition.notify_all()
            if error:
                return

    def _sample(self):
        metrics = self._server.metrics()
        return Sample(
            seconds=time.monotonic() - self._start,
            usage=self._server.usage(),
            created=metrics.by(CREATED, "kind"),
            destroyed=metrics.by(DESTROYED, "kind"),
            evaluations=int(metrics.sum("denoised_evaluations_total")),
            # Diffuse is called by clients that read to the end and by those that stall.
            given_up=int(metrics.by("denoised_diffusions_total", "outcome")["CANCELLED"]),
            work=sum(metrics.sum(name) for name in WORK),
        )
