"""What a staged table's file does not hold, in a file beside it: refused rows and how it is cut.

With both of them, any process goes on with a job whose input is gone. Stores may share a folder of
staged rows, and the same rows: so the sidecar also names the stores whose jobs have wanted them.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Collection, Generator, Sequence
from pathlib import Path
from typing import Any, Final, cast

from lexigram_ray.core.errors import DiskFullError
from lexigram_ray.core.types import Failure, FailureCategory
from lexigram_ray.jobs.staged import RefusedRow, StagedTable, units_of

FORMAT: Final = 1
SUFFIX: Final = ".json"
TEMPORARY: Final = ".staging-"


def sidecar_of(path: Path) -> Path:
    """Return the sidecar's path from that of the staged rows."""
    return path.with_suffix(SUFFIX)


def write_sidecar(
    path: Path,
    *,
    read: int,
    rows: Sequence[int],
    characters: Sequence[int],
    refused: Sequence[RefusedRow],
    store_id: str = "",
) -> None:
    """Write the sidecar of the staged rows at `path`; it is durable once its folder is synced.

    Args:
        path: Of the rows' file.
        read: Rows of the input.
        rows: Of each record batch.
        characters: In the texts of each record batch.
        refused: Rows of the input that are not in the file.
        store_id: A store whose jobs want them, where it is known already.

    Raises:
        DiskFullError: No space is left; what was there stays.
        OSError: It cannot be written; what was there stays.
    """
    # A wrong column refuses a million rows for one reason.
    failures = {row.failure: None for row in refused}
    places = {failure: place for place, failure in enumerate(failures)}
    content = {
        "format": FORMAT,
        "read": read,
        "rows": list(rows),
        "characters": list(characters),
        "failures": [[one.category.value, one.code, one.reason] for one in failures],
        "refused": [[row.row, row.row_id, places[row.failure]] for row in refused],
        "stores": sorted(stores_of(path) | ({store_id} if store_id else set())),
    }
    _write(path, content)


def stores_of(path: Path) -> frozenset[str]:
    """Return the ids of the stores whose jobs have wanted staged rows.

    None where the sidecar is missing or damaged, or of an older version.
    """
    return _stores_in(_read(path))


def note_stores(path: Path, stores: Collection[str]) -> None:
    """Say which stores' jobs want staged rows; nothing where they are gone.

    Args:
        path: Of the rows' file.
        stores: Their ids.

    Raises:
        OSError: It cannot be written; what was there stays.
    """
    content = _read(path)
    if content and frozenset(stores) != _stores_in(content):
        _write(path, content | {"stores": sorted(stores)})


def _stores_in(content: dict[str, Any]) -> frozenset[str]:
    return frozenset(str(each) for each in content.get("stores", ()))


def _read(path: Path) -> dict[str, Any]:
    try:
        content: object = json.loads(sidecar_of(path).read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return {}
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}


def _write(path: Path, content: dict[str, Any]) -> None:
    with temporary_file(path.parent) as temporary:
        with temporary.open("x", encoding="ascii") as file:
            json.dump(content, file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(sidecar_of(path))


def read_staged_table(path: Path, source: str) -> StagedTable | None:
    """Return the staged table of a file of rows, or None where it or its sidecar is missing.

    Args:
        path: Of the rows' file, whose name is their digest.
        source: What users call the input.
    """
    if not path.exists():
        return None
    try:
        content = _read(path)
        if content["format"] != FORMAT:
            return None
        failures = [
            Failure(category=FailureCategory(category), code=code, reason=reason)
            for category, code, reason in content["failures"]
        ]
        return StagedTable(
            source=source,
            path=path,
            digest=path.stem,
            read=content["read"],
            rows=sum(content["rows"]),
            characters=sum(content["characters"]),
            units=units_of(content["rows"], content["characters"]),
            refused=tuple(
                RefusedRow(row=row, row_id=row_id, failure=failures[place])
                for row, row_id, place in content["refused"]
            ),
        )
    except (ValueError, LookupError, TypeError):
        # Another version's, or damaged: the input is read once more, if it is still there.
        return None


@contextlib.contextmanager
def temporary_file(folder: Path) -> Generator[Path]:
    """Give a path that no one else uses, and remove what is there afterwards.

    Raises:
        DiskFullError: No space was left while it was in use.
    """
    path = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        yield path
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFullError(
            f"no space left to keep the rows to embed in {folder}",
            hint="free some space, or set --state to a larger disk, and run the same command again",
        ) from error
    finally:
        path.unlink(missing_ok=True)
