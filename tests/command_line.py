"""The command line as other programs run it: a process of its own, with pipes or a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAM = (sys.executable, "-m", "lexigram_ray")
# A test runner that was itself started in the background ignores SIGINT, and its children with it.
HEAR_SIGNALS = ("env", "--default-signal=INT")
NICENESS = "RAY_worker_niceness"
INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    NICENESS,
)
REPOSITORY = Path(__file__).resolve().parents[1]
ON_RAY = {"LEX_AI_WORKERS__RUNTIME__INLINE_SECONDS": "0"}
"""Variables with which a job goes to Ray however little there is to do."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def object(self) -> dict[str, object]:
        """The one JSON object on stdout; anything else there is an error."""
        assert self.stdout, f"nothing on stdout, exit code {self.code}: {self.stderr}"
        loaded = json.loads(self.stdout)
        assert isinstance(loaded, dict)
        return loaded


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment of a user who has set nothing of ours, with `extra` over it."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return inherited | {"PYTHONUNBUFFERED": "1"} | extra


def run_cli(
    *arguments: str | Path,
    state: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 240,
    stdin: str | None = None,
) -> Result:
    """Run one command to its end with pipes for its streams."""
    done = subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        env=clean_environment(LEXIGRAM_RAY_STATE=str(state), **(env or {})),
        cwd=cwd or state.parent,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Result(code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def start_cli(
    *arguments: str | Path, state: Path, env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start one command in a process group of its own, with pipes for its streams."""
    return subprocess.Popen(
        [*HEAR_SIGNALS, *PROGRAM, *map(str, arguments)],
        env=clean_environment(LEXIGRAM_RAY_STATE=str(state), **(env or {})),
        cwd=state.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


class Terminal:
    """A command in a pseudo-terminal of 100 columns and 30 lines."""

    def __init__(
        self, arguments: Sequence[str | Path], *, state: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.process = subprocess.Popen(
            [*HEAR_SIGNALS, *PROGRAM, *map(str, arguments)],
            env=clean_environment(
                LEXIGRAM_RAY_STATE=str(state), TERM="xterm-256color", **(env or {})
            ),
            cwd=state.parent,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.screen = ""

    def read_until(self, text: str, timeout: float = 60) -> str:
        """Read until `text` has been shown, and return all that was shown."""
        deadline = time.monotonic() + timeout
        while text not in self.screen:
            assert time.monotonic() < deadline, f"{text!r} not shown:\n{self.screen}"
            if not self._read():
                break
        assert text in self.screen, f"ended without {text!r}:\n{self.screen}"
        return self.screen

    def read_to_end(self, timeout: float = 240) -> str:
        """Read until the command has ended, and return all that was shown."""
        deadline = time.monotonic() + timeout
        while self._read():
            assert time.monotonic() < deadline, f"still running:\n{self.screen}"
        self.process.wait(timeout=30)
        return self.screen

    def type(self, text: str) -> None:
        """Type on the keyboard."""
        os.write(self._master, text.encode())

    def close(self) -> None:
        """End the command if it still runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)
        os.close(self._master)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 1)
        if not ready:
            return True
        # At the end of the command, reading from a pseudo-terminal is an error on Linux.
        with contextlib.suppress(OSError):
            data = os.read(self._master, 65536)
            self.screen += data.decode("utf-8", errors="replace")
            return bool(data)
        return False
