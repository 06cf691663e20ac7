"""Converted models on disk: a folder a fingerprint, there whole or not at all."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

RECORD = "conversion.json"
MODEL = "model.xml"
TOKENIZER = "tokenizer.json"
# Written later, and as often as one likes: no part of the conversion.
RECALL = "recall.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptModel:
    """A folder that a conversion has left.

    Attributes:
        folder: Holds the record, and the model and its tokenizer when `backend` is openvino.
        backend: `openvino`, or where the conversion was tried and did not hold, `torch`, and for
            int8 `none`.
        facts: What else was recorded, such as the version of OpenVINO.
    """

    folder: Path
    backend: str
    facts: Mapping[str, object]


def read_kept(folder: Path) -> KeptModel | None:
    """Return what is kept in `folder`; None where there is nothing, or nothing whole."""
    try:
        record: object = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("converted model %s is damaged: %s", folder, error)
        return None
    facts = cast("dict[str, object]", record) if isinstance(record, dict) else {}
    sizes = facts.get("files")
    if not isinstance(sizes, dict) or _sizes(folder) != cast("dict[str, int]", sizes):
        logger.warning("converted model %s is damaged: its files are not those recorded", folder)
        return None
    return KeptModel(folder=folder, backend=str(facts.get("backend")), facts=facts)


@contextlib.contextmanager
def new_folder(target: Path, facts: dict[str, object]) -> Generator[Path]:
    """Yield an empty folder that becomes `target`, with its record, when the block ends well.

    The folder gets its name by one rename after everything is on the disk. Where another process
    was first, its folder stays.

    Args:
        target: The final folder.
        facts: Goes into the record as it is when the block ends; must come to hold `backend`.

    Raises:
        OSError: The folder cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=_temporary_prefix(target)))
    try:
        yield folder
        record = json.dumps({**facts, "files": _sizes(folder)}, sort_keys=True, indent=1)
        (folder / RECORD).write_text(record, encoding="utf-8")
        for path in (*folder.iterdir(), folder):
            _sync(path)
        _set_name(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_remains(target: Path) -> None:
    """Remove what killed conversions of `target` have left. Its lock must be held."""
    for path in target.parent.glob(f"{_temporary_prefix(target)}*"):
        shutil.rmtree(path, ignore_errors=True)


def _temporary_prefix(target: Path) -> str:
    return f".{target.name}.new-"


def _set_name(folder: Path, target: Path) -> None:
    if target.exists() and read_kept(target) is None:
        shutil.move(target, folder / "replaced")
    try:
        folder.rename(target)
    except OSError:
        if read_kept(target) is None:
            raise
    # A damaged folder went along inside; the new one is in use without it from here on.
    shutil.rmtree(target / "replaced", ignore_errors=True)


def _sizes(folder: Path) -> dict[str, int]:
    return {
        path.name: path.stat().st_size
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name not in (RECORD, RECALL)
    }


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
