"""Folders that vanish with their owner, also when it is killed.

Each folder has a lock file beside it, held for as long as its owner lives. A lock that can be
taken has no owner any more: what it guarded is removed at the next start.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from pathlib import Path


class ScratchFolder:
    """An empty folder of this process's own, below `parent`."""

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        self.path = parent / secrets.token_hex(8)
        self._lock_path = _lock_of(self.path)
        self._lock = _take(self._lock_path)
        self.path.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove the folder and all in it; once is enough, twice does no harm."""
        if self._lock < 0:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock_path.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = -1


def sweep(parent: Path) -> None:
    """Remove the folders below `parent` whose owners are gone."""
    for lock_path in parent.glob("*.lock"):
        try:
            lock = os.open(lock_path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(lock_path.with_suffix(""), ignore_errors=True)
            lock_path.unlink(missing_ok=True)
        finally:
            os.close(lock)


def _take(path: Path) -> int:
    while True:
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        # A sweeper may have unlinked the file in the instant before it was locked.
        if path.exists() and path.stat().st_ino == os.fstat(lock).st_ino:
            return lock
        os.close(lock)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".lock")
