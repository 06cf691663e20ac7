"""Ctrl-C and SIGTERM: the first asks to stop and says how to go on, the second ends at once."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

import psutil

from lexigram_ray.cli.exit_codes import EXIT_INTERRUPTED

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 4.5
_END = b"\0"


class Interrupts:
    """Turns signals into `stop`, from a thread of its own.

    The interpreter runs signal handlers only between two byte codes of the main thread, which may
    sit in a long call into Lance or Ray; the wake-up pipe is written by the signal itself.

    Args:
        stop: Set at the first signal.
        on_first: Says what is done and how to go on.
        on_exit: Restores the terminal before the process ends at once, at the second signal or
            when the run has not come to its end within the grace period.
        grace_seconds: Every write of a run is atomic, so ending it late loses nothing.
    """

    def __init__(
        self,
        *,
        stop: threading.Event,
        on_first: Callable[[], None],
        on_exit: Callable[[], None],
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._stop = stop
        self._on_first = on_first
        self._on_exit = on_exit
        self._grace = grace_seconds
        self._reader, self._writer = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="interrupts", daemon=True)
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        os.set_blocking(self._writer, False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in SIGNALS:
            # `nohup` and a shell's `&` ignore a signal on purpose.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, _handled_by_the_thread)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.write(self._writer, _END)
        self._thread.join()
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        os.close(self._reader)
        os.close(self._writer)

    def rearm(self) -> None:
        """Take the signals back from a library that has put its own handlers in place (Ray)."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in self._before:
            # Whatever Python believes is in place: Ray's core sets the system's own handlers.
            signal.signal(number, _handled_by_the_thread)

    def _watch(self) -> None:
        deadline: float | None = None
        while True:
            patience = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._reader], [], [], patience)
            received = os.read(self._reader, 1) if ready else b""
            if received == _END:
                return
            if received and received[0] not in SIGNALS:
                continue
            if self._stop.is_set():
                self._on_exit()
                _kill_children()
                os._exit(EXIT_INTERRUPTED)
            self._stop.set()
            deadline = time.monotonic() + self._grace
            self._on_first()


def _handled_by_the_thread(_number: int, _frame: FrameType | None) -> None:
    """Keep the interpreter from raising KeyboardInterrupt."""


def _kill_children() -> None:
    # Ray's agents outlive a driver that has ended without a goodbye.
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
