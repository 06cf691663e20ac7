"""The process of one run, from outside: started, listened to, and really ended."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, cast

import psutil

from lexigram_ray.core.errors import MaintenanceError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# -P: a module of the working directory must not stand in for one of ours.
COMMAND = (sys.executable, "-P", "-m", "lexigram_ray.maintenance.child")
TERM_SECONDS = 1.0
"""Between asking a process to end and ending it."""

_LONGEST_LINE = 10_000
_PAUSE_SECONDS = 0.02
_LAST_SECONDS = 2.0

logger = logging.getLogger("lexigram_ray")

Reply = dict[str, Any]


class TaskProcess:
    """A child process in a process group of its own, so that a kill reaches what it has started.

    It dies with the thread that has made it. What it prints goes to the log.

    Args:
        order: What it is told: a dataclass, whose field `parent` is filled in here.
        what: Names it in the log.
        command: Starts a process that reads the order, pickled, from stdin.

    Raises:
        MaintenanceError: No process can be started.
    """

    def __init__(
        self, order: DataclassInstance, what: str, *, command: Sequence[str] = COMMAND
    ) -> None:
        self._what = what
        self._replies: queue.Queue[Reply | None] = queue.Queue()
        self._is_silent = False
        self._pause = threading.Event()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise MaintenanceError(
                f"no process can be started for {what}: {error}",
                hint="see `ulimit -a` for limits on processes and files",
            ) from error
        for duty, stream in (
            (self._read_replies, self._process.stdout),
            (self._log_prints, self._process.stderr),
        ):
            threading.Thread(target=duty, args=(stream,), name="task-output", daemon=True).start()
        self._send(replace(order, parent=os.getpid()))

    @property
    def pid(self) -> int:
        """Its process id, which is its process group's too."""
        return self._process.pid

    def replies(self, wait_seconds: float) -> Iterator[Reply]:
        """Yield what it has said, waiting a while for the first word."""
        if self._is_silent:
            # It is about to end.
            self._pause.wait(min(wait_seconds, _PAUSE_SECONDS))
            return
        with contextlib.suppress(queue.Empty):
            reply = self._replies.get(timeout=wait_seconds)
            while reply is not None:
                yield reply
                reply = self._replies.get_nowait()
            self._is_silent = True

    def last_replies(self) -> Iterator[Reply]:
        """Yield what it had said before it ended."""
        deadline = time.monotonic() + _LAST_SECONDS
        while not self._is_silent and time.monotonic() < deadline:
            yield from self.replies(_LAST_SECONDS)

    def has_ended(self) -> bool:
        """Whether it runs no more. Until `end` it stays a zombie, whose id is no other's."""
        if self._process.returncode is not None:
            return True
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PID, self._process.pid, options) is not None
        except ChildProcessError:
            return True

    def end(self, *, ask_first: bool) -> int:
        """End it and all that it has started, and return its exit code: negative for a signal.

        Args:
            ask_first: Whether it may end by itself within `TERM_SECONDS`.
        """
        if ask_first and not self.has_ended():
            self._signal(signal.SIGTERM)
            deadline = time.monotonic() + TERM_SECONDS
            while not self.has_ended() and time.monotonic() < deadline:
                self._pause.wait(_PAUSE_SECONDS)
        left = self._descendants()
        self._signal(signal.SIGKILL)
        for process in left:
            # Those that have left the group by themselves.
            with contextlib.suppress(psutil.Error):
                process.kill()
        code = self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        return code

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            # Not yet reaped, so that the id still is this child's.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _descendants(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.Error:
            return []

    def _send(self, order: DataclassInstance) -> None:
        stdin = cast("IO[bytes]", self._process.stdin)
        # One that has ended already is seen to have ended by whoever waits for its replies.
        with contextlib.suppress(BrokenPipeError):
            pickle.dump(order, stdin)
            stdin.close()

    def _read_replies(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._replies.put(cast("Reply", json.loads(line)))
        self._replies.put(None)

    def _log_prints(self, stream: IO[bytes]) -> None:
        with stream:
            while line := stream.readline(_LONGEST_LINE):
                text = line.decode("utf-8", "replace").rstrip()
                if text:
                    logger.info("%s: %s", self._what, text)


def how_ended(code: int) -> str:
    """Return how a process ended, by its exit code: negative for a signal."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _environment() -> dict[str, str]:
    # The child finds exactly the modules that this process would, under Ray too.
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)
    return dict(os.environ) | {"PYTHONPATH": paths}
