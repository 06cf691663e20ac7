"""SIGKILL to processes of certain kinds, at moments that chance picks, while there is work."""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

LOOK_SECONDS = 0.1
FIND_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """A kind of process.

    Attributes:
        signs: Any of them stands in its command line; Ray's workers have a title instead of one.
    """

    name: str
    signs: tuple[str, ...]

    def among(self, processes: Sequence[psutil.Process]) -> list[psutil.Process]:
        """Return those that are of this kind."""
        return [process for process in processes if self._is(process)]

    def _is(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            command = " ".join(process.cmdline())
            return any(sign in command for sign in self.signs)
        return False


EMBEDDER = Victim(name="the embedder of documents", signs=("ray::EmbedderActor", "ray::embed:"))
TEXT_EMBEDDER = Victim(
    name="the embedder of a table", signs=("ray::MapWorker", "ray::EmbedderActor", "ray::embed:")
)
PARSER = Victim(name="the parser", signs=("lexigram_ray.ingestion.sandbox_child",))
WORKER = Victim(name="an ingestion worker", signs=("ray::IngestionActor", "ray::ingest:"))
QUEUE = Victim(name="the queue", signs=("ray::JobQueueActor",))
LETTERS = Victim(name="the dead-letter actor", signs=("ray::DeadLetterActor",))
RUNNER = Victim(name="a job's runner", signs=("ray::JobRunner",))


class Hunter:
    """Kills; counts only what really died of it.

    Args:
        processes: Returns those among which to look.
        keep_busy: Called again and again: sees to it that there is work as long as this goes on.
        chance: Decides on moments, and on which of several.
    """

    def __init__(
        self,
        processes: Callable[[], Sequence[psutil.Process]],
        keep_busy: Callable[[], None],
        chance: random.Random,
    ) -> None:
        self._processes = processes
        self._keep_busy = keep_busy
        self._chance = chance

    def hunt(self, times: dict[Victim, int], every_seconds: tuple[float, float]) -> Counter[Victim]:
        """Kill each kind so many times, all of them in one random order.

        Args:
            every_seconds: The shortest and the longest time before each.

        Returns:
            How often each was killed: less often where there was none for long.
        """
        order = [victim for victim, count in times.items() for _ in range(count)]
        self._chance.shuffle(order)
        killed = Counter[Victim]()
        for victim in order:
            self._wait(self._chance.uniform(*every_seconds))
            killed[victim] += self._kill(victim)
        return killed

    def _kill(self, victim: Victim) -> int:
        deadline = time.monotonic() + FIND_SECONDS
        while time.monotonic() < deadline:
            if found := victim.among(self._processes()):
                return int(was_killed(self._chance.choice(found)))
            self._wait(LOOK_SECONDS)
        return 0

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        self._keep_busy()
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(LOOK_SECONDS, left))
            self._keep_busy()


def was_killed(process: psutil.Process) -> bool:
    """Send SIGKILL, and return whether there was somebody to receive it."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True
