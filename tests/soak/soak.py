#!/usr/bin/env python3
"""The program behind scripts/soak."""

import dataclasses
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True  # the sources may be read-only
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # clients that crash are programs of their own
from flags import DENOISED, MIN_ROUNDS, parse  # noqa: E402
from judge import Verdict, describe, judge  # noqa: E402

# What they are called in verdicts.
LEAKING = {"calls": "call states"}


def report_load(soak):
    behaviours = ", ".join(f"{name} {count}" for name, count in sorted(soak.behaviours().items()))
    usages = [sample.usage for sample in soak.samples()]
    print(f"\nClients: {behaviours}")
    print(
        f"Under load at most {max(usage.memory_mib for usage in usages):.0f} MiB, "
        f"{max(usage.threads for usage in usages)} threads, "
        f"{max(usage.descriptors for usage in usages)} descriptors\n"
    )


def judge_end(sample, surplus):
    """After the last client has gone."""
    created, destroyed = sum(sample.created.values()), sum(sample.destroyed.values())
    because = f"{created:.0f} created, {destroyed:.0f} destroyed, 2 held by the count itself"
    never = sorted(kind for kind, count in sample.created.items() if count == 0)
    if never:  # nothing was proved of these
        return Verdict("the end", False, f"{because}; there was never a {', '.join(never)}")
    if surplus:
        return Verdict("the end", False, f"{because}; nobody is left, but {describe(surplus)}")
    return Verdict("the end", True, because)


def conclude(flags, verdicts, problems):
    """Prints the verdicts and returns the exit code."""
    for verdict in verdicts:
        print(f"{'ok   ' if verdict.is_flat else 'LEAKS'}  {verdict.what}: {verdict.because}")
    for problem in problems:
        print(f"FAILED {problem}")
    leaking = {verdict.what for verdict in verdicts if not verdict.is_flat}
    if not flags.leak:
        return 1 if problems or leaking else 0
    missed = [kind for kind in flags.leak if LEAKING.get(kind, kind) not in leaking]
    if problems or missed:
        print(f"The negative control FAILS; not found: {', '.join(missed) or 'nothing'}")
        return 1
    print(f"The negative control passes: found that these leak: {', '.join(flags.leak)}")
    return 0


def write_json(path, soak, verdicts):
    content = {
        "verdicts": [dataclasses.asdict(verdict) for verdict in verdicts],
        "problems": soak.problems,
        "behaviours": soak.behaviours(),
        "rests": [dataclasses.asdict(rest) for rest in soak.rests],
        "samples": [dataclasses.asdict(sample) for sample in soak.samples()],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def soak_server(flags, server, folder):
    """Returns the exit code."""
    from rounds import Soak

    soak = Soak(flags, server, folder)
    soak.run()
    sample, surplus = soak.finish()
    code = server.stop()
    if code != 0:
        soak.problems.append(f"the server ends with {code}:\n{server.log_end()}")
    report_load(soak)
    verdicts = judge(soak.rests) if len(soak.rests) >= MIN_ROUNDS else []
    verdicts.append(judge_end(sample, surplus))
    if flags.json:
        write_json(flags.json, soak, verdicts)
    return conclude(flags, verdicts, soak.problems)


def main(arguments):
    flags = parse(arguments)
    # Only now: --help needs no environment with the client.
    from soaked_server import SoakedServer

    signal.signal(signal.SIGTERM, lambda *_: sys.exit("soak: terminated"))
    with tempfile.TemporaryDirectory(prefix="denoised-soak-") as name:
        folder = Path(name)
        server = SoakedServer((flags.build / DENOISED).resolve(), folder, flags.environment())
        try:
            return soak_server(flags, server, folder)
        except Exception:
            ended = "still runs" if server.is_running() else "has died"
            print(f"The server {ended}. The end of its log:\n{server.log_end()}", file=sys.stderr)
            raise
        finally:
            server.kill()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("soak: interrupted")
