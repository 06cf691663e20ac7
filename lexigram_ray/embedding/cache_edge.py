"""What Lance and the file system raise at the cache, translated at one edge."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Generator
from pathlib import Path

from lexigram_ray.core.errors import DiskFullError, EmbeddingError, WriteConflictError

# Lance has no error classes of its own: what is not damage is told by its text, here only.
CONFLICT = ("commit conflict", "concurrent", "incompatible transaction")
NO_SPACE = ("no space left", "disk quota exceeded", "os error 28", "storagefull")
# Passing troubles of the machine: the table is as good as before.
PASSING = (
    "permission denied",
    "too many open files",
    "read-only file system",
    "timed out",
    "cannot allocate memory",
    "input/output error",
    "interrupted",
    "stale file handle",
    "resource busy",
    "not connected",
    "file too large",
    "please upgrade",
)
# Of the errors with a number, only these say that something else than a table lies there.
DAMAGE_NUMBERS = (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
NO_SPACE_NUMBERS = (errno.ENOSPC, errno.EDQUOT)


class DamagedTableError(EmbeddingError):
    """The table cannot be read, and not for a passing reason."""


@contextlib.contextmanager
def cache_errors(path: Path) -> Generator[None]:
    """Translate errors of work on the table at `path`.

    Raises:
        DiskFullError: No space is left.
        WriteConflictError: Another process came first.
        DamagedTableError: The table is gone, foreign or unreadable.
        EmbeddingError: The machine does not let it be read or written now.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        text = _words(error, path)
        number = error.errno if isinstance(error, OSError) else None
        if number in NO_SPACE_NUMBERS or any(sign in text for sign in NO_SPACE):
            raise _full(path.parent) from error
        if any(sign in text for sign in CONFLICT):
            raise WriteConflictError(f"another process changed {path} first") from error
        refused = isinstance(error, PermissionError) or number not in DAMAGE_NUMBERS
        if refused or any(sign in text for sign in PASSING):
            raise _not_accessible(path, error) from error
        raise DamagedTableError(str(error).partition(", /")[0][:300]) from error


@contextlib.contextmanager
def folder_errors(path: Path) -> Generator[None]:
    """Translate what the file system says around a table or the caches' folder: never damage.

    Raises:
        DiskFullError: No space is left.
        EmbeddingError: Something at `path` cannot be made, listed, locked or moved.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE_NUMBERS:
            raise _full(path) from error
        raise _not_accessible(path, error) from error


def _words(error: Exception, path: Path) -> str:
    # Without the folder, whose name may hold any word; Lance names it without its first slash.
    text = str(error).lower()
    for folder in {os.path.abspath(path.parent), os.path.realpath(path.parent)}:
        # Of a table, and of one that is being made.
        for name in (path.name, f".{path.stem}"):
            text = text.replace(os.path.join(folder, name).lower().lstrip("/"), "")
    return text


def _full(folder: Path) -> DiskFullError:
    return DiskFullError(
        f"no space left for the embedding cache in {folder}",
        hint="free some space, or set embedding.cache=false",
    )


def _not_accessible(path: Path, error: Exception) -> EmbeddingError:
    return EmbeddingError(
        f"the embedding cache {path} is not accessible: {error}",
        hint="check the folder's permissions, or set embedding.cache=false",
    )
