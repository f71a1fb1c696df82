"""Workers that behave like clients, until they are told to rest."""

import collections
import random
import threading
import time
import traceback

# A client that has not ended by then hangs.
REST_PATIENCE_SECONDS = 300
MAX_FAILURES = 20


class Deck:
    """Behaviours in a random order, each as often as its weight says before the deck begins anew.
    So a short soak has all of them, too, and a seed names what every client does."""

    def __init__(self, behaviours, seed):
        self._cards = [behaviour for behaviour in behaviours for _ in range(behaviour.weight)]
        self._seed = seed
        self._order = random.Random(seed)
        self._left = []
        self._drawn = 0

    def __len__(self):
        return len(self._cards)

    def draw(self):
        """A behaviour, and the source of its own choices."""
        if not self._left:
            self._left = list(self._cards)
            self._order.shuffle(self._left)
        self._drawn += 1
        return self._left.pop(), random.Random(f"{self._seed}/{self._drawn}")


class Load:
    """Thread-safe. What clients do at the same time, and when, is up to the machine."""

    def __init__(self, scene, behaviours, workers, seed):
        self._scene = scene
        self._condition = threading.Condition()
        # Guarded by the condition.
        self._deck = Deck(behaviours, seed)
        self._works = False
        self._stops = False
        self._busy = collections.Counter()  # behaviours, by name
        self._done = collections.Counter()
        self._failures = []
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def work(self, seconds, clients):
        """For so long, and until so many clients have been there, counted from the start of all.
        Returns earlier where too much fails."""
        end = time.monotonic() + seconds
        with self._condition:
            self._works = True
            self._condition.notify_all()
            self._condition.wait_for(self._has_failed, max(0, end - time.monotonic()))
            self._condition.wait_for(
                lambda: self._has_failed() or self._done.total() >= clients, REST_PATIENCE_SECONDS
            )

    def rest(self):
        """Returns once no client is there any more; those that hang, by name."""
        with self._condition:
            self._works = False
            self._condition.wait_for(lambda: self._busy.total() == 0, REST_PATIENCE_SECONDS)
            return sorted((+self._busy).elements())

    def stop(self):
        with self._condition:
            self._stops = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join(REST_PATIENCE_SECONDS)

    def deck_size(self):
        with self._condition:
            return len(self._deck)

    def done(self):
        """How many clients have been there, by behaviour."""
        with self._condition:
            return dict(self._done)

    def failures(self):
        """What the server did that it should not, with the traceback of the client."""
        with self._condition:
            return list(self._failures)

    def has_failed(self):
        """Too often to go on."""
        with self._condition:
            return self._has_failed()

    def _has_failed(self):
        return len(self._failures) >= MAX_FAILURES

    def _run(self):
        while drawn := self._begin():
            behaviour, choices = drawn
            failure = None
            try:
                behaviour.act(self._scene, choices)
            except Exception:  # whatever it is, the soak has failed, and its report says why
                failure = f"{behaviour.name}: {traceback.format_exc()}"
            self._end(behaviour.name, failure)

    def _begin(self):
        """Waits for work; None if there will be none."""
        with self._condition:
            self._condition.wait_for(lambda: self._works or self._stops)
            if self._stops:
                return None
            behaviour, choices = self._deck.draw()
            self._busy[behaviour.name] += 1
            return behaviour, choices

    def _end(self, name, failure):
        with self._condition:
            self._busy[name] -= 1
            self._done[name] += 1
            if failure and not self._has_failed():
                self._failures.append(failure)
            self._condition.notify_all()
