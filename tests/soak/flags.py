"""The flags of a soak, and what follows from them."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
# Files of a build.
DENOISED = "bin/denoised"
DENOISE = "bin/denoise"
LEAK_LIBRARY = "tests/soak/libsoak_leak.so"

LEAKS = ("memory", "descriptors", "threads", "calls")
# A shorter soak may still warm up in its second half.
LONG_SECONDS = 600
ROUND_SECONDS = 30
MIN_ROUNDS = 4

DESCRIPTION = """Soaks a denoised server: clients come, go, stall, crash, cancel. Nothing may leak.

A soak is a number of rounds. At the end of each all clients have gone, and what the server holds is
counted: memory, threads, open descriptors, and the state of calls. docs/soak.md says when that is a
leak. With --leak something leaks on purpose, and the soak fails unless it finds exactly that."""

EXAMPLES = """examples:
  scripts/soak                                  # ten minutes
  scripts/soak --duration 20s                   # a quick look; memory is judged coarsely
  scripts/soak --leak memory                    # the negative control: is a leak found?
  scripts/soak --duration 8h --json soak.json   # over night, with every sample in a file

exit codes: 0: nothing leaks, or with --leak: what leaks was found; 1: something leaks, or a call
did not end as it should, or with --leak: what leaks was not found; 2: usage"""


@dataclass(frozen=True)
class Flags:
    duration: float  # seconds
    seed: int
    leak: tuple
    json: Path | None
    build: Path

    @property
    def rounds(self):
        return max(MIN_ROUNDS, round(self.duration / ROUND_SECONDS))

    @property
    def round_seconds(self):
        return self.duration / self.rounds

    def environment(self):
        """Of the server. With --leak it leaks enough to be found in the time that there is, and not
        more than a machine can bear."""
        if not self.leak:
            return {}
        if self.duration >= LONG_SECONDS:
            interval = self.duration / 600
            leaked_bytes = round(interval * (256 << 10))
        else:
            interval = self.duration / 300
            leaked_bytes = 4 << 20
        return {
            "LD_PRELOAD": str((self.build / LEAK_LIBRARY).resolve()),
            "SOAK_LEAK": ",".join(self.leak),
            "SOAK_LEAK_BYTES": str(leaked_bytes),
            "SOAK_LEAK_MILLISECONDS": str(round(1000 * interval)),
        }


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--duration",
        type=_seconds,
        default="10m",
        metavar="TIME",
        help="10m, 8h, or 20s, which takes longer; default: %(default)s",
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of what clients do; default: %(default)s"
    )
    parser.add_argument(
        "--leak",
        type=_leaks,
        default=(),
        metavar="KIND,...",
        help=f"leak on purpose: {', '.join(LEAKS)}, several with commas, or all",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the verdicts and every sample to this file"
    )
    parser.add_argument(
        "--build",
        type=Path,
        default=REPOSITORY / "build/release",
        metavar="DIR",
        help="where the server was built; default: build/release",
    )
    flags = Flags(**vars(parser.parse_args(arguments)))
    for file in (DENOISED, DENOISE, LEAK_LIBRARY):
        if not (flags.build / file).exists():
            parser.error(f"--build: {flags.build} has no {file}. scripts/soak builds it.")
    return flags


def _seconds(text):
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    value = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else 0
    if not 10 <= value <= 7 * 24 * 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 10s and 168h, such as 10m")
    return value


def _leaks(text):
    kinds = LEAKS if text == "all" else tuple(text.split(","))
    if not set(kinds) <= set(LEAKS):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not all, nor one or several of {', '.join(LEAKS)}, with commas"
        )
    return kinds
