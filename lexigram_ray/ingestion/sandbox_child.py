"""The parser process: reads requests from stdin, parses, writes results into the store.

Started as `python -m lexigram_ray.ingestion.sandbox_child` by `sandbox.py`, and by nothing else.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import BinaryIO, cast

from lexigram_ray.core.errors import (
    DiskFullError,
    ParseFailedError,
    ParserDiedError,
    UnreadableError,
    WorkerError,
)
from lexigram_ray.ingestion import frames
from lexigram_ray.ingestion.parse import ParseOptions, parse_file
from lexigram_ray.ingestion.parsed_store import ParsedStore

_PR_SET_PDEATHSIG = 1
_PAGE = resource.getpagesize()


def main() -> None:
    """Serve requests until stdin ends."""
    requests, replies = sys.stdin.buffer, _take_stdout()
    start = frames.read(requests.read)
    if start is None:
        return
    _die_with_parent(cast("int", start["parent"]))
    _limit(cast("int", start["memory_bytes"]), cast("int", start["output_bytes"]))
    store = ParsedStore(
        Path(cast("str", start["store"])), fingerprint=cast("str", start["fingerprint"])
    )
    options = ParseOptions(
        max_decoded_bytes=cast("int", start["max_decoded_bytes"]),
        ocr_language=cast("str | None", start["ocr_language"]),
    )
    worker = _Worker(
        store, options, cast("int", start["output_bytes"]), Path(cast("str", start["scratch"]))
    )
    _reply(replies, {"ready": True})
    while (request := frames.read(requests.read)) is not None:
        _reply(replies, worker.answer(request))


class _Worker:
    def __init__(
        self, store: ParsedStore, options: ParseOptions, max_bytes: int, scratch: Path
    ) -> None:
        self._store = store
        self._options = options
        self._max_bytes = max_bytes
        self._scratch = scratch

    def answer(self, request: frames.Message) -> frames.Message:
        """Parse one document; every error becomes a message, in the words of `core.errors`."""
        path = cast("str", request["path"])
        try:
            parsed = parse_file(path, cast("str", request["content_hash"]), self._options)
            self._store.put(parsed, path, max_bytes=self._max_bytes, scratch=self._scratch)
        except WorkerError as error:
            return _failure(error, error)
        except MemoryError as error:
            hint = "raise parser.memory_mb if the file is just big"
            return _failure(ParserDiedError("the parser ran out of memory", hint=hint), error)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return _failure(DiskFullError(f"parsed text cannot be kept: {error}"), error)
            return _failure(UnreadableError(f"it cannot be read: {error}"), error)
        except Exception as error:  # noqa: BLE001 - the edge where foreign errors become ours
            kind = type(error).__name__
            return _failure(ParseFailedError(f"it cannot be parsed: {kind}: {error}"), error)
        return {"hash": parsed.content_hash, "rss": _resident_bytes()}


def _failure(error: WorkerError, cause: BaseException) -> frames.Message:
    return {
        "error": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "code": error.code,
        "traceback": "".join(traceback.format_exception(cause, limit=-20)),
        "rss": _resident_bytes(),
    }


def _take_stdout() -> BinaryIO:
    # Whatever a library prints must not get between the frames: it goes to stderr.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return replies


def _reply(replies: BinaryIO, message: frames.Message) -> None:
    replies.write(frames.pack(message))
    replies.flush()


def _die_with_parent(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # It died before the line above; nobody will read what is parsed here.
        os._exit(0)


def _limit(memory_bytes: int, output_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (output_bytes, output_bytes))
    # When the machine runs out of memory, the parser is what the kernel kills, not its owner.
    with contextlib.suppress(OSError):  # not every container has it
        Path("/proc/self/oom_score_adj").write_text("1000")


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


if __name__ == "__main__":
    main()
