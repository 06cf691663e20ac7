"""Small files that several processes keep, most of them JSON: each reader sees a whole one."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import cast


def read_object(file: Path) -> dict[str, object]:
    """Return the object in a file; an empty one where it cannot be read or is something else."""
    try:
        content: object = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, object]", content) if isinstance(content, dict) else {}


def write_object(file: Path, content: object) -> None:
    """Replace a file by one that holds an object, and make its folder where there is none.

    Raises:
        OSError: It cannot be written; what was there stays.
    """
    write_bytes(file, json.dumps(content, sort_keys=True, indent=1).encode())


def write_bytes(file: Path, content: bytes) -> None:
    """Replace a file, and make its folder where there is none.

    Raises:
        OSError: It cannot be written; what was there stays.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as output:
            output.write(content)
        os.replace(temporary, file)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
