"""What the disk itself can do: nothing durable is faster."""

from __future__ import annotations

import os
import sqlite3
import statistics
import time
from pathlib import Path

WRITES = 200
PAGE = b"x" * 4096
JOURNALS = ("delete", "wal")
"""The store's own journal, and the one that needs fewer syncs for a commit."""


def syncs_per_second(folder: Path) -> float:
    """Return how many pages a second can be appended to a file there, each safe on the disk."""
    path = folder / "syncs"
    seconds: list[float] = []
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    try:
        for _ in range(WRITES):
            started = time.perf_counter()
            os.write(descriptor, PAGE)
            os.fdatasync(descriptor)
            seconds.append(time.perf_counter() - started)
    finally:
        os.close(descriptor)
        path.unlink()
    return 1 / statistics.median(seconds)


def commits_per_second(folder: Path, journal: str) -> float:
    """Return how many rows a second bare SQLite commits there one by one, each safe on the disk."""
    path = folder / "commits.db"
    seconds: list[float] = []
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, value BLOB)")
        for number in range(WRITES):
            started = time.perf_counter()
            connection.execute("INSERT INTO rows VALUES (?, ?)", (number, PAGE[:300]))
            seconds.append(time.perf_counter() - started)
    finally:
        connection.close()
        for left in folder.glob("commits.db*"):
            left.unlink()
    return 1 / statistics.median(seconds)
