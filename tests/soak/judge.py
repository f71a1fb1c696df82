"""Whether a server has leaked, from what it held whenever it had nothing to do.

At rest there are no calls, so state and descriptors have to be what they were, to the last one, and
so have threads but for a few. Memory is not as simple: allocators keep what was freed, caches fill up
to their bounds, and a moment with more calls than ever before moves the heap's high-water mark. All
of that happens early, or now and then; a leak goes on. Hence two rules for memory in the second half
of a soak:

- In most steps from rest to rest, memory grows by less than is allowed for the clients that have been
  there meanwhile. A leak is in most steps. A new high-water mark is in one or two, however large it
  is.
- From the first rest of that half to its last, memory grows by no more than a new high-water mark can
  explain. This finds leaks that come in bursts.
"""

import statistics
from dataclasses import dataclass, field

MIB = 1 << 20


@dataclass(frozen=True)
class Allowance:
    """How much memory may grow from rest to rest."""

    step_mib: float
    bytes_per_client: int

    def mib(self, clients):
        return self.step_mib + clients * self.bytes_per_client / MIB


# For the names of generations that have expired, of which the server remembers a number, and for the
# chance that the same blocks fit into the heap less well.
ALLOWANCE = Allowance(step_mib=0.5, bytes_per_client=1 << 10)
# In a short soak, caches and the heap have only begun to fill up.
SHORT_ALLOWANCE = Allowance(step_mib=8, bytes_per_client=256 << 10)
# A new high-water mark, as a part of what the server takes.
GROWTH_MAX = 0.1
# gRPC starts threads when it is busy, and ends some of them again.
MORE_THREADS_MAX = 2


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


def judge(rests, is_short=False):
    """The verdicts on memory, threads, descriptors and call states. Needs four rests."""
    return [judge_memory(rests, SHORT_ALLOWANCE if is_short else ALLOWANCE),
            judge_count("threads", rests, MORE_THREADS_MAX), judge_count("descriptors", rests, 0),
            judge_states(rests)]


def second_half(rests):
    if len(rests) < 4:
        raise ValueError(f"there are {len(rests)} rests, and a half needs two")
    return rests[len(rests) // 2:]


def judge_memory(rests, allowance):
    half = second_half(rests)
    steps = [after.memory_mib - before.memory_mib for before, after in zip(half, half[1:])]
    allowed = [allowance.mib(after.clients - before.clients) for before, after in zip(half, half[1:])]
    excess = statistics.median(step - most for step, most in zip(steps, allowed))
    growth, growth_max = sum(steps), max(GROWTH_MAX * half[0].memory_mib, sum(allowed))
    because = (f"from {half[0].memory_mib:.1f} MiB to {half[-1].memory_mib:.1f}, {growth:+.1f}, with "
               f"{growth_max:.1f} allowed; from rest to rest {statistics.median(steps):+.2f} MiB, with "
               f"{statistics.median(allowed):.2f} allowed, as medians")
    return Verdict("memory", excess <= 0 and growth <= growth_max, because)


def judge_count(what, rests, more_max):
    """Of the second half, the last rests may have so many more than the first."""
    counts = [getattr(rest, what) for rest in second_half(rests)]
    middle = len(counts) // 2
    before, after = statistics.median(counts[:middle]), statistics.median(counts[middle:])
    because = (f"{before:g} in the third quarter, {after:g} in the fourth, with {before + more_max:g} "
               "allowed, as medians of the rests")
    return Verdict(what, after <= before + more_max, because)


def judge_states(rests):
    """Every rest has to be one: a client that has gone leaves nothing."""
    for number, rest in enumerate(rests, 1):
        if rest.surplus:
            return Verdict("call states", False, f"at rest {number} there is {describe(rest.surplus)}")
    return Verdict("call states", True, f"at each of {len(rests)} rests, those of the clients that stay")


def describe(surplus):
    return ", ".join(f"{abs(count)} {kind} too {'many' if count > 0 else 'few'}"
                     for kind, count in sorted(surplus.items()))
