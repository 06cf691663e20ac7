"""What libraries and child processes print must neither reach stdout nor break lines of JSON."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import fcntl
import io
import os
import re
import secrets
import sys
import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TextIO

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# `[2026-11-24 08:29:58,037 E 25207 25380] task_manager.cc:1545: …`. Fatal ones, C, are said.
_RAY_LOG = re.compile(r"\[\d{4}-\d\d-\d\d [\d:,]+ [TDIWE] \d+ \d+\] (\(\S+\) )?\S+\.(cc|h):\d+: ")
_PIPE_BYTES = 1 << 20


class SaidLines(io.TextIOBase):
    """A text stream that hands each line to `say`, without its colours."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._begun = ""

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str, /) -> int:
        """Take text, and say the lines that are complete."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if shown := ESCAPES.sub("", line).strip():
                self._say(shown)
        return len(text)

    def end_line(self) -> None:
        """Say a line that was begun."""
        if self._begun:
            self.write("\n")


@contextmanager
def stdout_is_for_results(say: Callable[[str], None]) -> Generator[None]:
    """Meanwhile, say what others print: Python code on stdout, C++ and children on both streams.

    File descriptors 1 and 2 lead into a pipe whose lines are said by a thread of its own;
    `sys.stderr` goes on leading to where descriptor 2 led before.

    Args:
        say: Takes a line, from any thread. It writes to the `sys.stderr` of the moment: what it
            wrote to descriptor 2 would come back to it.
    """
    open_closed_streams()
    stdout, stderr = sys.stdout, sys.stderr
    _flush(stdout, stderr)
    printed, strays = SaidLines(say), _StrayLines(say)
    kept = [os.dup(1), os.dup(2)]
    sys.stdout, sys.stderr = printed, _past_the_pipe(stderr)
    strays.take_descriptors()
    try:
        with _crashes_shown_on(sys.stderr):
            yield
    finally:
        _flush(stdout, stderr, sys.stderr)
        sys.stdout, sys.stderr = stdout, stderr
        for descriptor, before in enumerate(kept, start=1):
            os.dup2(before, descriptor)
            os.close(before)
        strays.end()
        printed.end_line()


def open_closed_streams() -> None:
    """Lead closed standard streams to /dev/null, so that no file takes their descriptors."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is given: it is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    # Python's own answer to a closed descriptor is None.
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


class _StrayLines:
    """A pipe, and the thread that says what is written into it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._lines = SaidLines(say)
        # Children may keep the pipe open for longer than the run: a line marks its end.
        self._last = secrets.token_bytes(16).hex().encode() + b"\n"
        reader, self._writer = os.pipe()
        with contextlib.suppress(OSError):
            # A library that writes while it holds the interpreter's lock waits for us, and we for
            # the lock, once the pipe is full.
            fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._thread = threading.Thread(
            target=self._read, args=(reader,), name="stray-lines", daemon=True
        )
        self._thread.start()

    def take_descriptors(self) -> None:
        """Lead descriptors 1 and 2 into the pipe."""
        os.dup2(self._writer, 1)
        os.dup2(self._writer, 2)

    def end(self) -> None:
        """Say what is still in the pipe, and end the thread."""
        # If the thread ended on an error, there is no reader any more.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._writer, b"\n" + self._last)
        self._thread.join()
        os.close(self._writer)

    def _read(self, reader: int) -> None:
        in_ray_log = False
        with open(reader, "rb") as pipe:
            for line in pipe:
                if line == self._last:
                    return
                text = line.decode("utf-8", "replace")
                # Ray's C++ core writes the same into its log of this driver, in the session's
                # folder, and reports what matters to us as exceptions.
                in_ray_log = _is_of_ray_log(text, after_one=in_ray_log)
                if in_ray_log:
                    continue
                # Where stderr cannot be written any more, whoever writes must still not stall.
                with contextlib.suppress(OSError):
                    self._lines.write(text)


def _is_of_ray_log(line: str, *, after_one: bool) -> bool:
    """Whether a line begins a message of Ray's C++ log, or is indented below one."""
    return _RAY_LOG.match(line) is not None or (after_one and line[0] in " \t")


def _past_the_pipe(stderr: TextIO) -> TextIO:
    """Return a stream that leads to where descriptor 2 leads now, whatever becomes of that."""
    try:
        if stderr.fileno() != 2:
            return stderr
    except (OSError, ValueError):
        return stderr
    # Libraries keep what they find in sys.stderr (faulthandler its descriptor, handlers of logs
    # the stream): it is closed when the last of them has let go.
    descriptor = os.dup(2)
    stream = open(  # noqa: SIM115
        descriptor,
        "w",
        buffering=1,
        encoding=stderr.encoding,
        errors="backslashreplace",
        closefd=False,
    )
    weakref.finalize(stream, os.close, descriptor).atexit = False
    return stream


@contextmanager
def _crashes_shown_on(stream: TextIO) -> Generator[None]:
    """Have Python say where a native crash was: what the library says of it stays in the pipe."""
    if faulthandler.is_enabled():
        yield
        return
    # A stream without a descriptor, such as a notebook's, cannot be written to by then.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        faulthandler.enable(stream, all_threads=False)
    try:
        yield
    finally:
        faulthandler.disable()


def _flush(*streams: TextIO) -> None:
    """Empty the buffers of streams and of the C library, so that nothing changes its direction."""
    for stream in streams:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    ctypes.CDLL(None).fflush(None)
