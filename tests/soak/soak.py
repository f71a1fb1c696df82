#!/usr/bin/env python3
"""Soaks a denoised server: clients come, go, stall, crash and cancel, and the server must not leak.

A soak is a number of rounds. In each, clients behave in every way that they can (clients.py); then
they have all gone, the server comes to rest, and what it holds is counted: memory, threads, open
descriptors, and the state of calls. judge.py says when that is a leak. docs/soak.md explains the
report.

With --leak, something leaks on purpose, and the soak fails unless it finds exactly that it does."""

import argparse
import contextlib
import dataclasses
import json
import os
import re
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.dont_write_bytecode = True  # the sources may be read-only
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # clients that crash are programs of their own

EXAMPLES = """examples:
  scripts/soak                                  # ten minutes
  scripts/soak --duration 20s                   # a quick look; memory is judged coarsely
  scripts/soak --leak memory --duration 5m      # the negative control: does the soak find a leak?
  scripts/soak --duration 8h --json soak.json   # over night, with every sample in a file

exit codes: 0: nothing leaks, or with --leak: the leak was found; 1: something leaks, a call has not
ended as it should, or with --leak: the leak was not found; 2: usage"""

REPOSITORY = Path(__file__).resolve().parents[2]
# Of a build.
DENOISED = "bin/denoised"
DENOISE = "bin/denoise"
LEAK_LIBRARY = "tests/soak/libsoak_leak.so"

WORKERS = 12
ROUND_SECONDS = 30
MIN_ROUNDS = 4
# So long nothing changes before a server is at rest that should have less.
STILL_SECONDS = 20
LEAKS = ("memory", "descriptors", "threads", "calls")
# Until then, memory grows as caches fill up.
SHORT_SECONDS = 240


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="scripts/soak", description=__doc__.split("\n\n")[0], epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration", type=seconds, default=seconds("10m"), metavar="TIME",
                        help="how long clients come: 20s, 10m or 8h; default: 10m")
    parser.add_argument("--seed", type=int, default=1, help="of what clients do; default: 1")
    parser.add_argument("--leak", type=leaks, default=(), metavar="KIND,...",
                        help="the negative control: leak " + ", ".join(LEAKS) + " or all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples and verdicts here")
    parser.add_argument("--build", type=Path, default=REPOSITORY / "build/release", metavar="DIR",
                        help="the folder of the build with the server; default: build/release")
    flags = parser.parse_args(arguments)
    for file in (DENOISED, DENOISE, LEAK_LIBRARY):
        if not (flags.build / file).exists():
            parser.error(f"--build: {flags.build} has no {file}; scripts/soak builds it")
    return flags


def seconds(text):
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    value = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else 0
    if not 10 <= value <= 7 * 24 * 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time between 10s and 168h, such as 10m")
    return value


def leaks(text):
    kinds = LEAKS if text == "all" else tuple(text.split(","))
    if not set(kinds) <= set(LEAKS):
        raise argparse.ArgumentTypeError(f"{text!r} is not one or several of {', '.join(LEAKS)}, or all")
    return kinds


class ClientsThatStay:
    """For the whole soak: a program with one connection, and a dashboard that watches."""

    # Of the server, at rest.
    STATES = {"grpc_connection": 2, "stream": 1}

    def __init__(self, server, token):
        import denoised
        from clients import watch_activity
        from connections import GrpcConnection

        self.client = denoised.Client(server.grpc, token=token)
        self.client.health()  # the connection is made on the first call
        self._dashboard = GrpcConnection(server.grpc, token)
        self._stream = watch_activity(self._dashboard)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        import grpc

        with contextlib.suppress(grpc.RpcError):  # it is cancelled in the end
            for _ in self._stream:
                pass

    def leave(self):
        self._stream.cancel()
        self._reader.join()
        self._dashboard.close()
        self.client.close()


class Soak:
    """One soak, of a server that has started."""

    def __init__(self, flags, server, folder):
        from clients import BEHAVIOURS, Scene
        from load import Load
        from sampler import Sampler

        token, other_token = server.tokens.values()
        (folder / "token").write_text(token + "\n", encoding="utf-8")
        self._flags = flags
        self._staying = ClientsThatStay(server, token)
        self._scene = Scene(grpc=server.grpc, http=server.http, token=token, other_token=other_token,
                            guest_token=server.guest_token, client=self._staying.client,
                            denoise=(flags.build / DENOISE).resolve(), folder=folder)
        self._load = Load(self._scene, BEHAVIOURS, WORKERS, flags.seed)
        self._sampler = Sampler(server)
        self._allowed = dict(ClientsThatStay.STATES)
        self._never_leaving = []
        self.rests = []
        self.problems = []

    def run(self):
        rounds = max(MIN_ROUNDS, round(self._flags.duration / ROUND_SECONDS))
        round_seconds = self._flags.duration / rounds
        deck_size = self._load.deck_size()
        rest_seconds = 0.0
        print("   time   clients  memory MiB  threads  descriptors  call states")
        for number in range(1, rounds + 1):
            self._work(max(round_seconds / 3, round_seconds - rest_seconds),
                       clients=min(number * deck_size / MIN_ROUNDS, deck_size))
            began = time.monotonic()
            self._come_to_rest()
            rest_seconds = time.monotonic() - began
            if self.problems or self._load.has_failed():
                break
        self.problems.extend(self._load.failures())

    def _work(self, work_seconds, clients):
        if "calls" in self._flags.leak and not self._never_leaving:
            from clients import watch_activity

            self._never_leaving.append(self._scene.connect())
            self._never_leaving.append(watch_activity(self._never_leaving[0]))
        self._load.work(work_seconds, clients)

    def _come_to_rest(self):
        from judge import Rest

        hanging = self._load.rest()
        if hanging:
            self.problems.append("clients hang: " + ", ".join(hanging))
        sample, surplus = self._wait_for_rest(self._allowed)
        usages = [sample.usage] + [self._sampler.next().usage for _ in range(2)]
        rest = Rest(seconds=sample.seconds, clients=sum(self._load.done().values()),
                    memory_mib=statistics.median(usage.memory_mib for usage in usages),
                    threads=min(usage.threads for usage in usages),
                    descriptors=min(usage.descriptors for usage in usages), surplus=surplus)
        self.rests.append(rest)
        # Waiting for it once is enough.
        for kind, count in surplus.items():
            self._allowed[kind] = self._allowed.get(kind, 0) + count
        alive = ", ".join(f"{count} {kind}" for kind, count in sorted(sample.alive().items()))
        print(f"{rest.seconds:6.0f} s {rest.clients:9} {rest.memory_mib:11.1f} {rest.threads:8} "
              f"{rest.descriptors:12}  {alive or 'none'}", flush=True)

    def _wait_for_rest(self, allowed):
        """Until the server has nothing to do and holds no state but what is allowed. Returns what it
        holds too much of if nothing changes any more."""
        last, last_change = None, time.monotonic()
        while True:
            sample = self._sampler.next()
            alive = sample.alive()
            surplus = {kind: alive.get(kind, 0) - allowed.get(kind, 0)
                       for kind in set(alive) | set(allowed)
                       if alive.get(kind, 0) != allowed.get(kind, 0)}
            if not surplus and sample.work == 0:
                return sample, {}
            if (alive, sample.evaluations) != last:
                last, last_change = (alive, sample.evaluations), time.monotonic()
            if time.monotonic() > last_change + STILL_SECONDS:
                if sample.work:
                    self.problems.append(f"the server has work to do, and does not do it: {sample.work}")
                return sample, surplus

    def finish(self):
        """All clients leave. Returns the last sample, and what the server still holds then."""
        self._load.stop()
        self._staying.leave()
        for connection in self._never_leaving[:1]:
            connection.close()
        sample, surplus = self._wait_for_rest({})
        self._sampler.stop()
        return sample, surplus

    def samples(self):
        return self._sampler.samples()

    def behaviours(self):
        return self._load.done()

    def failures(self):
        return self._load.failures()


def report_behaviours(behaviours, samples):
    print("\nClients: " + ", ".join(f"{name} {count}" for name, count in sorted(behaviours.items())))
    usages = [sample.usage for sample in samples]
    print(f"Under load at most {max(usage.memory_mib for usage in usages):.0f} MiB, "
          f"{max(usage.threads for usage in usages)} threads, "
          f"{max(usage.descriptors for usage in usages)} descriptors.\n")


def judge_end(sample, surplus):
    """After the last client has gone."""
    from judge import Verdict

    created, destroyed = sum(sample.created.values()), sum(sample.destroyed.values())
    unseen = sorted(kind for kind, count in sample.created.items() if count == 0)
    because = f"{created:.0f} created, {destroyed:.0f} destroyed"
    if unseen:
        return Verdict("in the end", False, f"{because}; there was never any {', '.join(unseen)}")
    if surplus:
        left = ", ".join(f"{count} {kind}" for kind, count in sorted(surplus.items()))
        return Verdict("in the end", False, f"{because}; nobody is left who could hold {left}")
    return Verdict("in the end", True, f"{because}; the rest is the connection that counts them")


def conclude(flags, verdicts, problems):
    """Prints the verdicts; returns the exit code."""
    for verdict in verdicts:
        print(f"{'ok   ' if verdict.is_flat else 'LEAKS'}  {verdict.what}: {verdict.because}")
    for problem in problems:
        print(f"FAILED {problem}")
    if not flags.leak:
        return 1 if problems or not all(verdict.is_flat for verdict in verdicts) else 0
    found = {verdict.what for verdict in verdicts if not verdict.is_flat}
    missed = {"calls": "call states"}
    missed = [kind for kind in flags.leak if missed.get(kind, kind) not in found]
    if problems or missed:
        print(f"The negative control FAILS: the soak has missed {', '.join(missed) or 'nothing, but failed'}.")
        return 1
    print(f"The negative control passes: the soak has found that {', '.join(flags.leak)} leak.")
    return 0


def write_json(path, soak, verdicts, problems):
    content = {"verdicts": [dataclasses.asdict(verdict) for verdict in verdicts],
               "problems": problems, "behaviours": soak.behaviours(),
               "rests": [dataclasses.asdict(rest) for rest in soak.rests],
               "samples": [dataclasses.asdict(sample) for sample in soak.samples()]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def leak_environment(flags):
    """Has the server leak enough to be found in the time that there is, and not more than a machine
    can bear."""
    if not flags.leak:
        return {}
    leaked_bytes, milliseconds = (2 << 20, 10) if is_short(flags) else (64 << 10, 1000)
    return {"LD_PRELOAD": str((flags.build / LEAK_LIBRARY).resolve()),
            "SOAK_LEAK": ",".join(flags.leak), "SOAK_LEAK_BYTES": str(leaked_bytes),
            "SOAK_LEAK_MILLISECONDS": str(milliseconds)}


def is_short(flags):
    return flags.duration < SHORT_SECONDS


def main(arguments):
    flags = parse(arguments)
    from judge import judge
    from soaked_server import SoakedServer

    with tempfile.TemporaryDirectory(prefix="denoised-soak-") as name:
        folder = Path(name)
        server = SoakedServer((flags.build / DENOISED).resolve(), folder, leak_environment(flags))
        try:
            soak = Soak(flags, server, folder)
            soak.run()
            sample, surplus = soak.finish()
        except Exception:
            print(f"The end of the server's log:\n{server.log_end()}", file=sys.stderr)
            server.kill()
            raise
        problems = soak.problems
        code = server.stop()
        if code != 0:
            problems.append(f"the server ends with {code}; the end of its log:\n{server.log_end()}")
        report_behaviours(soak.behaviours(), soak.samples())
        verdicts = judge(soak.rests, is_short=is_short(flags)) if len(soak.rests) >= MIN_ROUNDS else []
        verdicts.append(judge_end(sample, surplus))
        if flags.json:
            write_json(flags.json, soak, verdicts, problems)
        return conclude(flags, verdicts, problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
