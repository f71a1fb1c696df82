"""The rounds of a soak: clients come, then all of them go, and the server rests."""

import contextlib
import statistics
import threading
import time

import denoised
import grpc
from clients import BEHAVIOURS, watch_activity
from connections import PATIENCE_SECONDS, GrpcConnection
from flags import DENOISE, MIN_ROUNDS
from judge import Rest
from load import Load
from sampler import Sampler
from scene import Scene

WORKERS = 12
# A server whose state has not changed for so long is at rest, whatever it holds.
STILL_SECONDS = 20


class StayingClients:
    """A program with one connection, and a dashboard that watches. They stay for the whole soak."""

    # What they hold of the server while it rests.
    STATES = {"grpc_connection": 2, "stream": 1}

    def __init__(self, server, token):
        self.program = denoised.Client(server.grpc, token=token, timeout=PATIENCE_SECONDS)
        self.program.health()  # which makes the connection
        self._dashboard = GrpcConnection(server.grpc, token)
        self._stream = watch_activity(self._dashboard)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with contextlib.suppress(grpc.RpcError):  # it is cancelled in the end
            for _ in self._stream:
                pass

    def leave(self):
        self._stream.cancel()
        self._reader.join()
        self._dashboard.close()
        self.program.close()


def difference(alive, allowed):
    """How many more there are of each kind, where that is not 0."""
    more = {kind: alive.get(kind, 0) - allowed.get(kind, 0) for kind in {**alive, **allowed}}
    return {kind: count for kind, count in more.items() if count != 0}


class Soak:
    """One soak, of a server that has started."""

    def __init__(self, flags, server, folder):
        token, other_token = server.tokens.values()
        (folder / "token").write_text(token + "\n", encoding="utf-8")
        self._flags = flags
        self._staying = StayingClients(server, token)
        self._scene = Scene(
            grpc=server.grpc,
            http=server.http,
            token=token,
            other_token=other_token,
            guest_token=server.guest_token,
            client=self._staying.program,
            denoise=(flags.build / DENOISE).resolve(),
            folder=folder,
        )
        self._load = Load(self._scene, BEHAVIOURS, WORKERS, flags.seed)
        self._sampler = Sampler(server)
        self._allowed = dict(StayingClients.STATES)
        self._never_leaves = None
        self.rests = []
        self.problems = []

    def run(self):
        rest_seconds = 0.0
        print("   time   clients  memory MiB  threads  descriptors  call states")
        for number in range(1, self._flags.rounds + 1):
            self._work(number, rest_seconds)
            began = time.monotonic()
            self._rest()
            rest_seconds = time.monotonic() - began
            if self.problems or self._load.has_failed():
                break
        self.problems.extend(self._load.failures())

    def _work(self, number, rest_seconds):
        if "calls" in self._flags.leak and self._never_leaves is None:
            self._never_leaves = self._scene.connect()
            next(watch_activity(self._never_leaves))
        round_seconds = self._flags.round_seconds
        # A short soak, too, has each behaviour.
        clients = self._load.deck_size() * min(1, number / MIN_ROUNDS)
        self._load.work(max(round_seconds / 3, round_seconds - rest_seconds), clients)

    def _rest(self):
        hanging = self._load.rest()
        if hanging:
            self.problems.append("clients hang: " + ", ".join(hanging))
        sample, surplus = self._wait_for_rest(self._allowed)
        usages = [sample.usage, self._sampler.next().usage, self._sampler.next().usage]
        rest = Rest(
            seconds=sample.seconds,
            clients=sum(self._load.done().values()),
            memory_mib=statistics.median(usage.memory_mib for usage in usages),
            threads=min(usage.threads for usage in usages),
            descriptors=min(usage.descriptors for usage in usages),
            surplus=surplus,
        )
        self.rests.append(rest)
        for kind, count in surplus.items():  # which later rests do not wait for again
            self._allowed[kind] = self._allowed.get(kind, 0) + count
        states = ", ".join(f"{count} {kind}" for kind, count in sorted(sample.alive().items()))
        print(
            f"{rest.seconds:6.0f} s {rest.clients:9} {rest.memory_mib:11.1f} {rest.threads:8} "
            f"{rest.descriptors:12}  {states or 'none'}",
            flush=True,
        )

    def _wait_for_rest(self, allowed):
        """Returns the sample of a server that has nothing to do, and what it holds beside the state
        that is allowed: nothing, unless that does not change any more."""
        last, last_change = None, time.monotonic()
        while True:
            sample = self._sampler.next()
            alive = sample.alive()
            surplus = difference(alive, allowed)
            if not surplus and not sample.work:
                return sample, surplus
            if (alive, sample.evaluations) != last:
                last, last_change = (alive, sample.evaluations), time.monotonic()
            elif time.monotonic() > last_change + STILL_SECONDS:
                if sample.work:
                    self.problems.append(f"the server has work and does not do it: {sample.work}")
                return sample, surplus

    def finish(self):
        """All clients leave. Returns the last sample, and what the server still holds."""
        self._load.stop()
        self._staying.leave()
        if self._never_leaves is not None:
            self._never_leaves.close()
        sample, surplus = self._wait_for_rest({})
        if sample.given_up == 0:
            self.problems.append("the server has given up none of the clients that stall")
        self._sampler.stop()
        return sample, surplus

    def samples(self):
        return self._sampler.samples()

    def behaviours(self):
        """How many clients there were, by what they did."""
        return self._load.done()
