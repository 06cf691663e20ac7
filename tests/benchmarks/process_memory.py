"""How much memory a process and everything it started hold, while they run."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

LOOK_SECONDS = 0.25
MOST_OF_A_CORE = 0.01
"""What a kind of look may take from what is measured, as far as it is not too seldom then; one at
the shares of twenty processes costs 70 ms."""

LONGEST_SECONDS = 5.0
KB = 1024
MB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakMemory:
    """The most that a tree of processes held.

    Attributes:
        resident_mb: Sum of the living processes' own peaks (VmHWM); what they share counts in each.
        share_mb: Sum of their proportional shares (PSS): what they share counts once.
    """

    resident_mb: float
    share_mb: float


class MemoryWatch:
    """Looks at a process and its descendants until it is left."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._seen: dict[int, psutil.Process] = {pid: self._root}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="memory", daemon=True)
        self._resident = 0
        self._share = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def peak(self) -> PeakMemory:
        """What was seen so far."""
        return PeakMemory(resident_mb=self._resident / MB, share_mb=self._share / MB)

    def still_alive(self) -> list[psutil.Process]:
        """Return the processes of the tree that have not ended; a reused pid is not one of them."""
        self._tree()
        return [process for process in self._seen.values() if process.is_running()]

    def _look_on(self) -> None:
        looks = (_Seldom(self._look_at_residents), _Seldom(self._look_at_shares))
        while not self._over.wait(LOOK_SECONDS):
            for look in looks:
                look.if_due()

    def _look_at_residents(self) -> None:
        self._resident = max(self._resident, sum(map(_own_peak, self._tree())))

    def _look_at_shares(self) -> None:
        self._share = max(self._share, sum(map(_share, self._seen)))

    def _tree(self) -> list[int]:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in [self._root, *self._root.children(recursive=True)]:
                self._seen.setdefault(process.pid, process)
        return list(self._seen)


class _Seldom:
    """A look that is taken as often as it may cost."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._due = 0.0

    def if_due(self) -> None:
        """Take it, unless the last one was too short a time ago for what it cost."""
        if time.monotonic() < self._due:
            return
        began = time.thread_time()
        self._look()
        pause = (time.thread_time() - began) / MOST_OF_A_CORE
        self._due = time.monotonic() + min(pause, LONGEST_SECONDS)


def _own_peak(pid: int) -> int:
    return _field(pid, "status", "VmHWM:")


def _share(pid: int) -> int:
    return _field(pid, "smaps_rollup", "Pss:")


def _field(pid: int, file: str, name: str) -> int:
    """Return a field of a process in bytes; 0 once it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/{file}").read_text(encoding="ascii").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * KB
    return 0
