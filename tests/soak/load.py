"""Workers that behave like clients, until they are told to rest."""

import collections
import random
import threading
import time
import traceback

# A worker that has not come back by then hangs.
REST_PATIENCE_SECONDS = 300
MAX_FAILURES = 20


class Load:
    """Each worker draws behaviours from a generator of its own, so that a seed names what it does.
    What the others do meanwhile, and when, is up to the machine."""

    def __init__(self, scene, behaviours, workers, seed):
        self._scene = scene
        self._behaviours = behaviours
        self._condition = threading.Condition()
        self._works = False  # guarded by the condition, as all that follows
        self._stops = False
        self._busy = 0
        self.done = collections.Counter()  # behaviours, by name
        self.failures = []
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(f"{seed}/{index}"),), daemon=True)
            for index in range(workers)]
        for thread in self._threads:
            thread.start()

    def work(self, seconds):
        """Returns earlier where too much has failed."""
        end = time.monotonic() + seconds
        with self._condition:
            self._works = True
            self._condition.notify_all()
            self._condition.wait_for(lambda: len(self.failures) >= MAX_FAILURES,
                                     max(0, end - time.monotonic()))

    def rest(self):
        """Returns once no client is busy; False if one hangs."""
        with self._condition:
            self._works = False
            return self._condition.wait_for(lambda: self._busy == 0, REST_PATIENCE_SECONDS)

    def stop(self):
        with self._condition:
            self._stops = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join(REST_PATIENCE_SECONDS)

    def count(self):
        with self._condition:
            return self.done.total()

    def _run(self, random_source):
        weights = [behaviour.weight for behaviour in self._behaviours]
        while self._begin():
            behaviour = random_source.choices(self._behaviours, weights)[0]
            failure = None
            try:
                behaviour.act(self._scene, random_source)
            except Exception:  # whatever it is, the soak has failed, and its report says why
                failure = f"{behaviour.name}: {traceback.format_exc()}"
            self._end(behaviour.name, failure)

    def _begin(self):
        """Waits for work; False if there will be none."""
        with self._condition:
            self._condition.wait_for(lambda: self._works or self._stops)
            self._busy += not self._stops
            return not self._stops

    def _end(self, name, failure):
        with self._condition:
            self._busy -= 1
            self.done[name] += 1
            if failure and len(self.failures) < MAX_FAILURES:
                self.failures.append(failure)
            self._condition.notify_all()
