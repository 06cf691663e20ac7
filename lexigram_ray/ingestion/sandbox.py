"""The parser in a process of its own, that can be killed: one poisonous file costs one failure."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from lexigram_ray.core import errors
from lexigram_ray.core.errors import (
    ChangedError,
    DiskFullError,
    DocumentSkipped,
    ParserDiedError,
    ParserKilledError,
    ParserStartError,
    ParserTimeoutError,
    WorkerError,
)
from lexigram_ray.core.types import Document, ParsedDocument
from lexigram_ray.ingestion import frames
from lexigram_ray.ingestion.parsed_store import ParsedStore, parser_fingerprint
from lexigram_ray.ingestion.scratch import ScratchFolder, sweep

if TYPE_CHECKING:
    from lexigram_ray.core.config import ParserSettings

# -P: a `kreuzberg.py` in the working directory must not be imported.
CHILD_COMMAND = (sys.executable, "-P", "-m", "lexigram_ray.ingestion.sandbox_child")

_MB = 1 << 20
_START_SECONDS = 60.0
_EXIT_SECONDS = 5.0
_SCRATCH = "tmp"
_PASSED_ON = ("PATH", "TZ", "TESSDATA_PREFIX", "LD_LIBRARY_PATH")
_STDERR_TAIL = 4096
# Rust's, Python's, and the C library's words for it.
_OUT_OF_MEMORY = ("memory allocation of", "MemoryError", "Cannot allocate memory", "WouldBlock")


class SandboxedParser:
    """Parses documents in a child process with limits on time, memory and output.

    The child starts with the first document that the store does not hold. It is replaced after
    `recycle_after` documents, and when it has grown past `recycle_mb`: parsers leak. One caller at
    a time; several parsers may share one store.

    Args:
        settings: Limits and OCR.
        store: Where parsed text is kept. Only its root counts: the key is these settings' own.
        command: The child's command line; another one stands in for a faulty parser.
    """

    def __init__(
        self,
        settings: ParserSettings,
        store: ParsedStore,
        *,
        command: Sequence[str] = CHILD_COMMAND,
    ) -> None:
        self.store = ParsedStore(store.root, fingerprint=parser_fingerprint(settings))
        self._settings = settings
        self._command = tuple(command)
        self._child: _Child | None = None
        # The kernel kills the child when the *thread* that started it ends. Callers' threads come
        # and go, so that one thread that lives as long as this object starts every child.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="parser-starter")
        self._swept = False

    def parse(self, document: Document) -> ParsedDocument:
        """Parse one document, or return what the store has of it.

        Raises:
            DocumentSkipped: There is nothing to ingest in it.
            ChangedError: Its bytes are not those of `document.content_hash` any more.
            ParserTimeoutError: It took longer than `timeout_seconds`.
            ParserDiedError: The parser crashed on it, or needed too much memory.
            ParserStartError: No parser process starts, or none lives until it is asked.
            DocumentError: It cannot be parsed.
            DiskFullError: Its text cannot be kept.
        """
        if document.content_hash:
            kept = self.store.get(document.content_hash, document.path)
            if kept is not None:
                return kept
        reply = self._ask({"path": document.path, "content_hash": document.content_hash})
        if "error" in reply:
            raise _rebuilt(reply)
        parsed = self.store.get(cast("str", reply["hash"]), document.path)
        if parsed is None:
            raise ChangedError("its parsed text vanished from the store before it was read")
        return parsed

    def close(self) -> None:
        """Kill the child, if there is one, and remove its files. `parse` would start another."""
        self._end_child()
        self._starter.shutdown()
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="parser-starter")

    def __enter__(self) -> SandboxedParser:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _ask(self, request: frames.Message) -> frames.Message:
        for _ in range(2):
            # A process that ends a moment after it was looked at has not seen this document.
            with contextlib.suppress(BrokenPipeError):
                return self._ask_child(request)
        raise ParserStartError(
            "the parser processes end before they are asked anything",
            hint="see `lexigram-ray doctor`; the machine may be out of memory",
        )

    def _ask_child(self, request: frames.Message) -> frames.Message:
        child = self._child
        if child is None or child.is_gone():
            # A child that died between two documents is no fault of the next one.
            self._end_child()
            child = self._child = self._started()
        try:
            reply = child.ask(request, self._settings.timeout_seconds)
        except TimeoutError as error:
            self._end_child()
            seconds = self._settings.timeout_seconds
            raise ParserTimeoutError(
                f"parsing took longer than {seconds:g} s",
                hint="raise parser.timeout_seconds if the file is just big",
            ) from error
        except EOFError as error:
            death = self._death(child)
            self._end_child()
            raise death from error
        except BaseException:
            # Ctrl-C while it was parsing: its reply would be taken for the next document's.
            self._end_child()
            raise
        self._recycle(child, reply)
        return reply

    def _recycle(self, child: _Child, reply: frames.Message) -> None:
        too_old = child.parsed >= self._settings.recycle_after
        too_big = cast("int", reply.get("rss", 0)) > self._settings.recycle_mb * _MB
        out_of_memory = reply.get("error") == ParserDiedError.__name__
        if too_old or too_big or out_of_memory:
            self._end_child()

    def _started(self) -> _Child:
        try:
            return self._start_child()
        except ParserStartError:
            # Under a heavy load the first one may only have been too slow.
            return self._start_child()

    def _start_child(self) -> _Child:
        scratch_root = self.store.root / _SCRATCH
        try:
            if not self._swept:
                sweep(scratch_root)
                self._swept = True
            scratch = ScratchFolder(scratch_root)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFullError(
                    f"no room for parsed text in {scratch_root}: {error}",
                    hint="free some space and run the same command again",
                ) from error
            raise ParserStartError(
                f"no parser can work in {scratch_root}: {error.strerror or error}",
                hint="check the permissions of the state directory",
            ) from error
        settings = self._settings
        start: frames.Message = {
            "parent": os.getpid(),
            "memory_bytes": settings.memory_mb * _MB,
            "output_bytes": settings.max_output_mb * _MB,
            "max_decoded_bytes": settings.max_decoded_mb * _MB,
            "ocr_language": settings.ocr_language if settings.ocr else None,
            "store": str(self.store.root.absolute()),
            "fingerprint": self.store.fingerprint,
            "scratch": str(scratch.path.absolute()),
        }
        child = self._new_child(scratch)
        try:
            child.ask(start, _START_SECONDS)
        except (EOFError, OSError, ValueError) as error:
            # ValueError: it answers with something else than a message.
            late = f"no answer within {_START_SECONDS:g} s"
            reason = late if isinstance(error, TimeoutError) else child.last_words()
            child.end()
            raise ParserStartError(
                f"the parser process does not start: {reason}",
                hint="see `lexigram-ray doctor`; parser.memory_mb may be too low",
            ) from error
        except BaseException:
            child.end()
            raise
        return child

    def _new_child(self, scratch: ScratchFolder) -> _Child:
        try:
            return self._starter.submit(_Child, self._command, scratch).result()
        except (OSError, RuntimeError) as error:
            # RuntimeError: no thread could be started. What was submitted must not run later.
            self._starter.shutdown(wait=False, cancel_futures=True)
            self._starter = ThreadPoolExecutor(1, thread_name_prefix="parser-starter")
            scratch.remove()
            raise ParserStartError(
                f"the parser process cannot be started: {error}",
                hint="see `lexigram-ray doctor`, and `ulimit -a` for limits on processes and files",
            ) from error

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def _death(self, child: _Child) -> ParserDiedError:
        code = child.exit_code()
        words = child.last_words()
        printed = child.printed()
        limit = f"{self._settings.memory_mb} MB"
        if code is None:
            return ParserDiedError("the parser closed its pipe without ending")
        if any(sign in printed for sign in _OUT_OF_MEMORY):
            return ParserDiedError(
                f"the parser ran out of memory (its limit is {limit})",
                hint="raise parser.memory_mb if the file is just big",
            )
        if -code in (signal.SIGKILL, signal.SIGTERM):
            name = signal.Signals(-code).name
            return ParserKilledError(f"the parser was killed from outside, by {name}")
        if code < 0:
            name = signal.Signals(-code).name
            return ParserDiedError(f"the parser was ended by {name} (memory limit {limit})")
        return ParserDiedError(f"the parser ended with exit code {code}: {words}")


class _Child:
    """One parser process, its pipes and its scratch folder."""

    def __init__(self, command: Sequence[str], scratch: ScratchFolder) -> None:
        self.parsed = -1  # the first answer is to the start message
        # What it prints is no output of ours; its end tells why it died.
        self._stderr = cast("IO[bytes]", tempfile.TemporaryFile())  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=_environment(scratch.path),
                cwd="/",
                # Its own session: Ctrl-C in the terminal is for us, and a kill reaches its
                # children.
                start_new_session=True,
            )
        except BaseException:
            self._stderr.close()
            raise
        self._requests = cast("IO[bytes]", self._process.stdin)
        self._replies = cast("IO[bytes]", self._process.stdout)
        self._finish = weakref.finalize(self, _finish, self._process, self._stderr, scratch)

    def ask(self, message: frames.Message, timeout: float) -> frames.Message:
        """Send a message and wait for the answer.

        Raises:
            TimeoutError: None came in `timeout` seconds.
            BrokenPipeError: The process died before it had read the message.
            EOFError: It died after that.
        """
        deadline = time.monotonic() + timeout
        self._requests.write(frames.pack(message))
        self._requests.flush()
        # Unlike epoll, poll needs no descriptor: too many open files are no document's fault.
        with selectors.PollSelector() as selector:
            selector.register(self._replies, selectors.EVENT_READ)
            reply = frames.read(lambda count: self._read(count, selector, deadline))
        if reply is None:
            raise EOFError
        self.parsed += 1
        return reply

    def is_gone(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def exit_code(self) -> int | None:
        """Wait a little for the end and return the exit code, negative for a signal.

        Returns:
            None where the process goes on although it has closed its pipe.
        """
        try:
            return self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def printed(self) -> str:
        """Return the end of what the process printed."""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - _STDERR_TAIL))
        return self._stderr.read().decode("utf-8", "replace").strip()

    def last_words(self) -> str:
        """Return the last line that the process printed."""
        return self.printed().split("\n")[-1] or "without a word"

    def end(self) -> None:
        """Kill the process and its children, wait for it, remove its files."""
        self._finish()

    def _read(self, count: int, selector: selectors.BaseSelector, deadline: float) -> bytes:
        received = b""
        while len(received) < count:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            block = os.read(self._replies.fileno(), count - len(received))
            if not block:
                break
            received += block
        return received


def _finish(process: subprocess.Popen[bytes], stderr: IO[bytes], scratch: ScratchFolder) -> None:
    if process.poll() is None:
        # Not yet reaped, so the process id still is this child's.
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with contextlib.ExitStack() as rest:
        rest.callback(scratch.remove)
        for stream in (process.stdout, stderr):
            if stream is not None:
                rest.callback(stream.close)
        if process.stdin is not None:
            # What a dead child has not read is still in the buffer, and closing tries to send it.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()


def _environment(scratch: Path) -> dict[str, str]:
    """Build the child's environment from nothing: tokens and passwords stay here."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return kept | {
        "LANG": "C.UTF-8",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        # The child finds exactly the modules that this process would, under Ray too.
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path if path),
        # Each arena reserves 64 MB of address space, which is what is limited.
        "MALLOC_ARENA_MAX": "2",
    }


def _rebuilt(reply: frames.Message) -> WorkerError:
    message, hint = cast("str", reply["message"]), cast("str | None", reply["hint"])
    kind = cast("type[WorkerError]", getattr(errors, cast("str", reply["error"])))
    if kind is DocumentSkipped:
        error: WorkerError = DocumentSkipped(message, code=cast("str", reply["code"]), hint=hint)
    else:
        error = kind(message, hint=hint)
    error.add_note(cast("str", reply["traceback"]))
    return error
