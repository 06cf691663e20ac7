"""Ctrl-C, or a notebook's stop button, during a call: the first asks to stop, the second raises.

The command line's way (`lexigram_ray.cli.interrupts`) ends the process, which in a notebook is
the user's own.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """The handler of SIGINT for the time of a call."""

    def __init__(self, stop: threading.Event, on_first: Callable[[], None]) -> None:
        self._stop = stop
        self._on_first = on_first
        self._asked = False
        # The one means of telling another thread that takes no lock: a handler runs between any
        # two byte codes of the main thread, which may hold the lock of `stop`.
        self._news: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._watch, name="interrupt", daemon=True)

    def begin(self) -> None:
        """Take the signal."""
        self._before = signal.signal(signal.SIGINT, self._handle)
        self._thread.start()

    def end(self) -> None:
        """Give the signal back."""
        signal.signal(signal.SIGINT, self._before)
        self._news.put(False)
        self._thread.join()

    def rearm(self) -> None:
        """Take the signal back from a library that has put its own handler in place (Ray)."""
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and self._thread.is_alive():
            signal.signal(signal.SIGINT, self._handle)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        self._news.put(True)

    def _watch(self) -> None:
        while self._news.get():
            self._stop.set()
            self._on_first()


@contextmanager
def stopping_on_interrupt(
    stop: threading.Event, on_first: Callable[[], None]
) -> Generator[Interrupt]:
    """Turn the first SIGINT into `stop`; in a thread, where no signal arrives, nothing is done.

    Args:
        stop: Set at the first signal.
        on_first: Says that it was heard; called from a thread of its own.
    """
    interrupt = Interrupt(stop, on_first)
    hears = threading.current_thread() is threading.main_thread()
    # A program that ignores the signal does so on purpose.
    if not hears or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        yield interrupt
        return
    interrupt.begin()
    try:
        yield interrupt
    finally:
        interrupt.end()
