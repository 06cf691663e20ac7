"""Child programs of the scenarios: started, spoken to line by line, killed, and always reaped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from types import TracebackType
from typing import Self

from tests.command_line import REPOSITORY, clean_environment

LIMIT_SECONDS = 120.0


class Child:
    """One process of a module of this folder; it ends with the `with` block, whatever happens.

    Args:
        module: Its name, without the package.
        limit_seconds: A child that lives longer is killed: a proof may fail, but not hang.
    """

    def __init__(
        self, module: str, *arguments: object, limit_seconds: float = LIMIT_SECONDS
    ) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed at the exit
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"tests.chaos.faults.{module}", *map(str, arguments)],
            cwd=REPOSITORY,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._watchdog = threading.Timer(limit_seconds, self.process.kill)
        self._watchdog.daemon = True
        self._watchdog.start()

    def line(self) -> str:
        """Return the child's next line; empty once it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        """Give the starting signal."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def begin(self) -> None:
        """Wait until it is ready, and give the starting signal."""
        self.line()
        self.go()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens where the child has ended."""
        if self.process.poll() is None:
            os.kill(self.process.pid, number)

    def was_killed(self) -> bool:
        """Send SIGKILL, and return whether that is what ended it."""
        self.signal(signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    def wait(self) -> int:
        """Wait for the end, and return the exit code."""
        code = self.process.wait()
        self._watchdog.cancel()
        return code

    def errors(self) -> str:
        """Return the last of what it wrote to stderr."""
        self._errors.seek(0)
        return self._errors.read()[-2_000:].strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.signal(signal.SIGKILL)
        self.wait()
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream is not None:
                # A starting signal that a dead child has not taken is lost, and nobody minds.
                _close(stream)


def say(line: str) -> None:
    """Tell the parent."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def ready() -> None:
    """Say so, and wait for the starting signal."""
    say("ready")
    sys.stdin.readline()


def _close(stream: object) -> None:
    try:
        stream.close()  # pyright: ignore[reportAttributeAccessIssue]
    except BrokenPipeError:
        return
