"""A clock that only tests move, and handlers that other processes can import."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

PATIENCE_SECONDS = 20.0


class WallClock:
    """Shows the time that a test has set."""

    def __init__(self, *begin: int) -> None:
        self.now = datetime(*begin, tzinfo=UTC)  # pyright: ignore[reportArgumentType]

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


def count_pages() -> dict[str, object]:
    """A handler that reports."""
    print("printed by the handler")
    return {"items_processed": 3, "items_deleted": 1, "process": os.getpid()}


async def count_pages_later() -> dict[str, object]:
    await asyncio.sleep(0)
    return {"items_processed": 4}


def refuse() -> None:
    raise RuntimeError("no answer from https://me:hunter2@host/")


def leave() -> None:
    sys.exit(4)


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def answer_with_an_object() -> dict[str, object]:
    return {"metadata": {"what": object()}}


def never_end() -> None:
    """Ignore what asks it to end, with a child that does so too; their pids are in $PIDS_FILE."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", ignore])
    Path(os.environ["PIDS_FILE"]).write_text(f"{os.getpid()} {child.pid}")
    while True:
        time.sleep(1)
