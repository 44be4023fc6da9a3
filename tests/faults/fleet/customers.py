"""Customers who change their minds about what should run, and who call it all the while."""

import collections
import contextlib
import random
import threading
from collections.abc import Iterator
from typing import Final

from tests.faults.fleet.quay import MINUTE, Quay, compose
from tests.faults.fleet.watch import Watch
from tests.waiting import wait_until

NAMES: Final = ("ada", "ben", "cleo")
#: Wants its model only while it calls, which it does now and then; it sleeps in every tier on its way to nothing.
SLEEPER: Final = "cleo"


def _compose(name: str, context: int) -> str:
    if name == SLEEPER:
        return compose(context=context, least=0, idle="2s", frozen="3s", stopped="4s")
    return compose(context=context)


class Customers:
    """What they want is known here, so that it can be held against what there is."""

    def __init__(self, quay: Quay, watch: Watch, chance: random.Random) -> None:
        self._quay, self._watch, self._chance = quay, watch, chance
        #: Name to context size; None: nothing is wanted.
        self.wanted: dict[str, int | None] = dict.fromkeys(NAMES)
        self.deeds = 0
        self._pauses = random.Random(chance.random())
        self.answers: collections.Counter[str] = collections.Counter()

    def change_their_mind(self) -> None:
        """One deployment is wanted, wanted otherwise, or wanted no more."""
        name = self._chance.choice(NAMES)
        context = self._chance.choice([None, 128, 192, 256, 320])
        self.deeds += 1
        self._watch.note(f"{name} wants {context or 'nothing'}")
        if context is None:
            self._quay.call("DELETE", f"/deployments/{name}", seconds=2 * MINUTE)
        else:
            # A name that is still being deleted is free when that is done.
            wait_until(lambda: self._accepts(name, context), seconds=2 * MINUTE, what=f"{name} to be applied")
        self.wanted[name] = context

    def _accepts(self, name: str, context: int) -> bool:
        answer = self._quay.call("PUT", f"/deployments/{name}", content=_compose(name, context), seconds=2 * MINUTE)
        assert answer.status_code in {200, 202, 409}, answer.text
        return answer.status_code != 409

    def are_served(self, *, seconds: float = MINUTE) -> None:
        """Waits until everything is as it is wanted: each deployment at its revision with one ready replica."""
        self._watch.note(f"is it as wanted? {self.wanted}")
        wait_until(
            self._is_as_wanted,
            seconds=seconds,
            what=lambda: f"{self.wanted}; there is {self._quay.replicas_everywhere()}",
        )
        for name, context in self.wanted.items():
            if context is not None:
                wait_until(
                    lambda name=name: self._quay.answers(f"{name}/llm"), seconds=seconds, what=f"{name}'s answer"
                )
        self._watch.note("it is")

    def _is_as_wanted(self) -> bool:
        for name, context in self.wanted.items():
            status = self._quay.status(name)
            if context is None:
                if status != "":
                    return False
                continue
            replicas = self._quay.replicas(name)
            if name == SLEEPER:
                if status not in {"ready", "idle"} or len(replicas) > 1:
                    return False
                continue
            if status != "ready" or [one["status"] for one in replicas] != ["ready"]:
                return False
        return True

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """Two of them call, one request after the other, while the block lasts."""
        is_over = threading.Event()

        def call(name: str) -> None:
            while not is_over.is_set():
                outcome = "answered" if self._quay.answers(f"{name}/llm", seconds=10) else "told no"
                self.answers[outcome] += 1
                # Longer than it takes to fall asleep, and at times longer than it sleeps.
                is_over.wait(self._pauses.uniform(1, 12) if name == SLEEPER else 0.3)

        threads = [threading.Thread(target=call, args=(name,), daemon=True) for name in ("ada", SLEEPER)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            is_over.set()
            for thread in threads:
                thread.join(60)
