"""A lock between processes of one machine, which the death of its holder releases."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path

from lexigram_ray.core.errors import EmbeddingError

# Short at first, for most holders need milliseconds.
POLL_SECONDS = (0.002, 0.05)
# A holder that is stopped (Ctrl-Z, a debugger) lets nobody in and says nothing.
WARN_AFTER_SECONDS = 5.0

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def exclusive_lock(path: Path, *, patience: float | None = None) -> Generator[None]:
    """Hold the lock at `path`, waiting for whoever holds it now; a long wait is said once.

    Where the file system has no locks nobody waits for anybody: then one process at a time should
    use what the lock guards.

    Args:
        path: The lock's file; it is made, and stays.
        patience: Seconds to wait; None waits for good.

    Raises:
        EmbeddingError: It was not to be had within `patience`.
        OSError: The lock's file cannot be made.
    """
    with _held(path, exclusive=True, patience=patience):
        yield


@contextlib.contextmanager
def shared_lock(path: Path, *, patience: float | None = None) -> Generator[None]:
    """Hold the lock at `path` together with others who share it; see `exclusive_lock`.

    Raises:
        EmbeddingError: It was not to be had within `patience`.
        OSError: The lock's file cannot be made.
    """
    with _held(path, exclusive=False, patience=patience):
        yield


@contextlib.contextmanager
def _held(path: Path, *, exclusive: bool, patience: float | None) -> Generator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _wait(lambda: _try(descriptor, path, exclusive=exclusive), path, patience)
        yield
    finally:
        os.close(descriptor)


def _wait(try_once: Callable[[], bool], path: Path, patience: float | None) -> None:
    began, warned = time.monotonic(), False
    pause, longest = POLL_SECONDS
    while not try_once():
        waited = time.monotonic() - began
        if patience is not None and waited >= patience:
            raise EmbeddingError(
                f"another process has held the lock {path} for {waited:.0f} seconds",
                hint=f"see who holds it (`fuser {path}`): wait for that process, or end it if it"
                " is stopped",
            )
        if not warned and waited >= WARN_AFTER_SECONDS:
            logger.warning("waiting for another process, which holds the lock %s", path)
            warned = True
        time.sleep(pause)
        pause = min(longest, 2 * pause)


def _try(descriptor: int, path: Path, *, exclusive: bool) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        logger.debug("no file locks at %s: %s", path, error)
    return True
