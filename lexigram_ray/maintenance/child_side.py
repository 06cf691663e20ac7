"""What a child process that works for `task_process` does first, and how it answers."""

from __future__ import annotations

import ctypes
import json
import os
import signal
from typing import TextIO

_PR_SET_PDEATHSIG = 1


def take_stdout() -> TextIO:
    """Return what was stdout, for replies; whatever is printed from now on goes to the log."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    return replies


def reply(replies: TextIO, kind: str, value: object) -> None:
    """Tell the parent something, as a line of JSON.

    Raises:
        TypeError, ValueError: The value cannot be written as JSON.
    """
    replies.write(json.dumps({kind: value}, allow_nan=False) + "\n")


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process with its parent's thread; end it if that has died already.

    Args:
        parent: Process id of whoever started this process.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # It died before the line above; nobody watches over what is done here.
        os._exit(0)
