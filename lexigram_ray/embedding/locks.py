"""A lock between processes of one machine, which the death of its holder releases."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Generator
from pathlib import Path

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def exclusive_lock(path: Path) -> Generator[None]:
    """Hold the lock at `path`, waiting for whoever holds it now.

    Where the file system has no locks it is held by nobody and everybody: callers use it to save
    work, and must stay correct without it.

    Raises:
        OSError: The lock's file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        logger.debug("no file locks at %s: %s", path, error)
