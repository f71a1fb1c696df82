"""What the judge of a soak finds in series that are made up: judge_test.py."""

import random
import sys
import unittest

sys.dont_write_bytecode = True  # the sources may be read-only
from judge import ALLOWANCE, Rest, judge, judge_memory  # noqa: E402

CLIENTS = 300  # from rest to rest


def rests(memory, threads=None, descriptors=None, surpluses=None):
    """Half a minute apart."""
    count = len(memory)
    return [
        Rest(
            seconds=30 * (i + 1),
            clients=CLIENTS * (i + 1),
            memory_mib=memory[i],
            threads=(threads or [40] * count)[i],
            descriptors=(descriptors or [26] * count)[i],
            surplus=(surpluses or [{}] * count)[i],
        )
        for i in range(count)
    ]


def found(all_rests):
    """What leaks."""
    return [verdict.what for verdict in judge(all_rests) if not verdict.is_flat]


# A server that fills its caches for three minutes, after which chance moves its memory a little.
def warming_up(seed, count=20):
    noise = random.Random(seed)
    return [180 + 90 * min(1, i / 6) + 0.05 * i + noise.uniform(-0.3, 0.3) for i in range(count)]


class Memory(unittest.TestCase):
    def test_that_fills_up_to_a_bound_is_flat(self):
        for seed in range(200):
            with self.subTest(seed=seed):
                self.assertEqual(found(rests(warming_up(seed))), [])

    def test_with_a_new_high_water_mark_now_and_then_is_flat(self):
        for first in range(10, 19):
            memory = [
                value + 8 * (i >= first) + 9 * (i >= first + 2)
                for i, value in enumerate(warming_up(first))
            ]
            with self.subTest(first=first):
                self.assertEqual(found(rests(memory)), [])

    def test_that_falls_is_flat(self):
        memory = [value - 4 * (i > 12) for i, value in enumerate(warming_up(1))]
        self.assertEqual(found(rests(memory)), [])

    # The server gives back to the system what it has freed, once that is much.
    def test_that_is_given_back_and_taken_again_is_flat(self):
        for at in range(5, 18):
            memory = [
                value - 40 * (i == at) - 15 * (i == at + 1)
                for i, value in enumerate(warming_up(at))
            ]
            with self.subTest(at=at):
                self.assertEqual(found(rests(memory)), [])

    def test_that_grows_with_every_client_leaks(self):
        for leaked_bytes in (4 << 10, 16 << 10, 1 << 20):
            for seed in range(200):
                memory = [
                    value + leaked_bytes * CLIENTS * i / 2**20
                    for i, value in enumerate(warming_up(seed))
                ]
                with self.subTest(leaked_bytes=leaked_bytes, seed=seed):
                    self.assertEqual(found(rests(memory)), ["memory"])

    def test_that_grows_in_bursts_leaks(self):
        memory = [value + 40 * (i // 4) for i, value in enumerate(warming_up(1))]
        self.assertEqual(found(rests(memory)), ["memory"])

    # What a machine does that has three times as many clients come and go.
    def test_may_grow_with_the_number_of_clients(self):
        for factor in (1, 3):
            memory = [270 + 0.3 * factor * i for i in range(20)]
            all_rests = [
                Rest(
                    rest.seconds,
                    factor * rest.clients,
                    rest.memory_mib,
                    rest.threads,
                    rest.descriptors,
                )
                for rest in rests(memory)
            ]
            with self.subTest(factor=factor):
                self.assertTrue(judge_memory(all_rests, ALLOWANCE).is_flat)

    def test_of_a_first_half_does_not_count(self):
        memory = [100 * (i + 1) for i in range(10)] + [1000] * 10
        self.assertEqual(found(rests(memory)), [])

    # In a short soak, and on a machine so slow that few clients have been there.
    def test_may_warm_up_but_not_leak(self):
        warming = [180, 190, 198, 206]
        slow = [
            Rest(
                rest.seconds * 10,
                rest.clients // 10,
                rest.memory_mib,
                rest.threads,
                rest.descriptors,
            )
            for rest in rests(warming)
        ]
        for series in (rests(warming), slow):
            with self.subTest(seconds=series[0].seconds):
                self.assertEqual(found(series), [])
                self.assertFalse(judge_memory(series, ALLOWANCE).is_flat)
        self.assertEqual(found(rests([180 + 2 * CLIENTS * i for i in range(4)])), ["memory"])


class Counts(unittest.TestCase):
    MEMORY = [200] * 20

    def test_may_change_in_the_first_half(self):
        threads = [36, 37, 38, 39] + [40] * 16
        descriptors = [20, 23, 25] + [26] * 17
        self.assertEqual(found(rests(self.MEMORY, threads, descriptors)), [])

    def test_may_fall(self):
        descriptors = [30] * 12 + [26] * 8
        self.assertEqual(found(rests(self.MEMORY, descriptors=descriptors)), [])

    def test_one_descriptor_at_a_time_leaks(self):
        descriptors = [20 + i // 4 for i in range(20)]
        self.assertEqual(found(rests(self.MEMORY, descriptors=descriptors)), ["descriptors"])

    def test_one_thread_at_each_rest_leaks(self):
        threads = [40 + i for i in range(20)]
        self.assertEqual(found(rests(self.MEMORY, threads=threads)), ["threads"])

    def test_a_thread_that_comes_and_goes_does_not(self):
        threads = [40 + i % 3 for i in range(20)]
        self.assertEqual(found(rests(self.MEMORY, threads=threads)), [])

    def test_a_single_rest_with_more_descriptors_does_not(self):
        descriptors = [26] * 18 + [27, 26]
        self.assertEqual(found(rests(self.MEMORY, descriptors=descriptors)), [])


class States(unittest.TestCase):
    def test_left_at_any_rest_leak(self):
        for at in (0, 9, 19):
            surpluses = [{"stream": 1} if i == at else {} for i in range(20)]
            with self.subTest(at=at):
                self.assertEqual(found(rests([200] * 20, surpluses=surpluses)), ["call states"])

    def test_that_are_missing_are_wrong_too(self):
        surpluses = [{}, {}, {}, {"stream": -1, "generation": 2}]
        verdict = judge(rests([200] * 4, surpluses=surpluses))[-1]
        self.assertFalse(verdict.is_flat)
        self.assertEqual(verdict.because, "at rest 4: 2 generation too many, 1 stream too few")


class Rests(unittest.TestCase):
    def test_must_be_four(self):
        with self.assertRaisesRegex(ValueError, "there are 3 rests"):
            judge(rests([200] * 3))


if __name__ == "__main__":
    unittest.main()
