"""Whether a server has leaked, from what it held whenever it had nothing to do.

At rest there are no calls, so state and descriptors have to be what they were, to the last one, and
so have threads but for a few. Memory is not as simple: allocators keep what was freed, caches fill
up to their bounds, and a moment with more calls than ever before moves the heap's high-water mark.
All of that happens early, or now and then; a leak goes on. Hence two rules for memory in the second
half of a soak:

- In most steps from rest to rest, memory grows by less than is allowed for the clients that have
  been there meanwhile. A leak is in most steps. A new high-water mark is in one or two, however
  large it is.
- Above the most that there was at a rest of the first half, memory grows by no more than a new
  high-water mark can explain. This finds leaks that come in bursts.
"""

import itertools
import statistics
from dataclasses import dataclass, field

MIB = 1 << 20


@dataclass(frozen=True)
class Allowance:
    """What a server may hold more at a rest than before, without a leak."""

    step_mib: float  # of memory, from rest to rest
    bytes_per_client: int  # in addition
    threads: int  # from quarter to quarter

    def mib(self, clients):
        return self.step_mib + clients * self.bytes_per_client / MIB


# Memory: for the names of generations that have expired, of which the server remembers a number,
# and for blocks that fit into the heap less well by chance. Threads: gRPC starts some when it is
# busy, and ends some of them again.
ALLOWANCE = Allowance(step_mib=0.5, bytes_per_client=1 << 10, threads=2)
# Until then, caches and the heap only begin to fill up.
WARMING_CLIENTS = 200
WARMING_SECONDS = 120
WARMING_ALLOWANCE = Allowance(step_mib=16, bytes_per_client=256 << 10, threads=6)
# A new high-water mark, as a part of what the server takes.
GROWTH_MAX = 0.2


@dataclass(frozen=True)
class Rest:
    """What a server holds when it has nothing to do."""

    seconds: float  # since the start
    clients: int  # that have been there since then
    memory_mib: float
    threads: int
    descriptors: int
    # State of calls, by kind: more than that of the clients that stay.
    surplus: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    what: str
    is_flat: bool
    because: str


def judge(rests):
    """The verdicts on memory, threads, descriptors and call states. Needs four rests."""
    half_time = halves(rests)[0][-1]
    is_warm = half_time.clients >= WARMING_CLIENTS and half_time.seconds >= WARMING_SECONDS
    allowance = ALLOWANCE if is_warm else WARMING_ALLOWANCE
    return [
        judge_memory(rests, allowance),
        judge_count("threads", rests, more_max=allowance.threads),
        judge_count("descriptors", rests, more_max=0),
        judge_states(rests),
    ]


def halves(rests):
    if len(rests) < 4:
        raise ValueError(f"there are {len(rests)} rests, and a half needs two")
    return rests[: len(rests) // 2], rests[len(rests) // 2 :]


def judge_memory(rests, allowance):
    first, half = halves(rests)
    pairs = list(itertools.pairwise(first[-1:] + half))
    steps = [after.memory_mib - before.memory_mib for before, after in pairs]
    allowed = [allowance.mib(after.clients - before.clients) for before, after in pairs]
    excess = statistics.median(step - most for step, most in zip(steps, allowed, strict=True))
    most, end = max(rest.memory_mib for rest in first), half[-1].memory_mib
    end_max = most + max(GROWTH_MAX * most, sum(allowed))
    because = (
        f"{end:.1f} MiB in the end after at most {most:.1f} in the first half, with "
        f"{end_max:.1f} allowed; from rest to rest {statistics.median(steps):+.2f}, with "
        f"{statistics.median(allowed):.2f} allowed, as medians of the second half"
    )
    if allowance is WARMING_ALLOWANCE:
        because += f"; after {first[-1].clients} clients in the first half it is warming up"
    return Verdict("memory", excess <= 0 and end <= end_max, because)


def judge_count(what, rests, more_max):
    """Of the second half, the last rests may have so many more than the first."""
    counts = [getattr(rest, what) for rest in halves(rests)[1]]
    middle = len(counts) // 2
    before, after = statistics.median(counts[:middle]), statistics.median(counts[middle:])
    because = (
        f"{before:g} in the third quarter, {after:g} in the fourth, with "
        f"{before + more_max:g} allowed, as medians"
    )
    return Verdict(what, after <= before + more_max, because)


def judge_states(rests):
    """Every rest has to be one: a client that has gone leaves nothing."""
    for number, rest in enumerate(rests, 1):
        if rest.surplus:
            return Verdict("call states", False, f"at rest {number}: {describe(rest.surplus)}")
    return Verdict("call states", True, f"at {len(rests)} rests those of the clients that stay")


def describe(surplus):
    return ", ".join(
        f"{abs(count)} {kind} too {'many' if count > 0 else 'few'}"
        for kind, count in sorted(surplus.items())
    )
