"""The edge where Lance's errors become ours.

Lance raises bare `OSError` and `ValueError`, a refused commit among them, so the kind of an error
is known by its text alone. Every text that this package depends on stands here, and a test
provokes each of them for real.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from lexigram_ray.core.errors import (
    CollectionNotFoundError,
    DiskFullError,
    IntegrityError,
    WorkerError,
    WriteConflictError,
)

_REFUSED = re.compile(r"too many concurrent writers|commit conflict", re.IGNORECASE)
_DISK_FULL = re.compile(r"no space left|\(os error 28\)|quota exceeded|\(os error 122\)", re.I)
_DENIED = re.compile(r"\(os error (13|30)\)")
_NOT_FOUND = re.compile(r"not found|\(os error 2\)", re.IGNORECASE)
_RUST_PLACE = re.compile(r",? \S+\.rs:\d+(:\d+)?")
_WRAPPERS = re.compile(
    r"^((External|Query Execution|Invalid user input|LanceError\(\w+\)|Schema) ?(error|): ?)+",
    re.IGNORECASE,
)


@contextmanager
def lance_errors(name: str, path: Path) -> Generator[None]:
    """Raise this package's errors for whatever Lance raises inside.

    Args:
        name: Of the collection, for the message.
        path: Its folder.

    Raises:
        WriteConflictError: Another commit came first; nothing was written.
        DiskFullError: No space is left; nothing was written.
        CollectionNotFoundError: The collection was dropped meanwhile.
        IntegrityError: A file of the collection is missing.
        WorkerError: Lance failed for another reason.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError, NotImplementedError) as error:
        translated = translate(error, name=name, path=path)
        if translated is None:
            raise
        raise translated from error


def translate(error: Exception, *, name: str, path: Path) -> WorkerError | None:
    """Return our error for one of Lance's; None where it did not come from Lance."""
    text = str(error)
    if not (isinstance(error, OSError) or _RUST_PLACE.search(text)):
        return None
    reason = readable(error)
    if _REFUSED.search(text):
        return WriteConflictError(
            f"collection {name}: another commit came first, so this one was refused",
            hint="read the new version and write again",
        )
    if _DISK_FULL.search(text):
        return DiskFullError(
            f"collection {name}: no space is left under {path.parent}",
            hint="free some space and run the same command again; it goes on from there",
        )
    if _DENIED.search(text):
        return WorkerError(
            f"collection {name}: no permission for a file of {path}",
            hint="check who owns the folder",
        )
    if _NOT_FOUND.search(text):
        return _missing(name, path, reason)
    return WorkerError(f"collection {name}: {reason}")


def readable(error: Exception) -> str:
    """Return a Lance error's text without its wrappers and places in Rust source."""
    return _WRAPPERS.sub("", _RUST_PLACE.sub("", str(error))).strip()


def _missing(name: str, path: Path, reason: str) -> WorkerError:
    if not path.exists():
        return CollectionNotFoundError(
            f"collection {name} is no longer there",
            hint=f"lexigram-ray ingest PATH --collection {name}",
        )
    return IntegrityError(
        f"collection {name}: a part of it is missing: {reason}",
        hint=f"restore {path} from a backup, or drop the collection and ingest again",
    )
