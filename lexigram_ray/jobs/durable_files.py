"""Files that a power failure leaves as they are, and what killed processes leave of theirs."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

LEFT_BEHIND_SECONDS = 24 * 3600.0
"""Writing goes on all the time: what was untouched for so long is of a killed process."""


def sync(path: Path) -> None:
    """Make a file's bytes durable, or what a folder names.

    Raises:
        OSError: The disk has refused.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_left_behind(folder: Path, pattern: str) -> int:
    """Remove the files of a folder that are half written and left behind.

    Args:
        folder: May be missing.
        pattern: Fits the names of files that are being written, and no others.

    Returns:
        How many were removed.
    """
    removed = 0
    for path in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > LEFT_BEHIND_SECONDS:
                path.unlink()
                removed += 1
    return removed
