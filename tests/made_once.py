"""What is expensive to make and only read afterwards: made once for all processes of a run."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import pytest
from filelock import FileLock

T = TypeVar("T")


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], T]) -> T:
    """Return what `make` returned for the folder of this name, to whichever process asked first.

    A fixture that several modules import is made once for each of them, in each process; this is
    not.
    """
    base = factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    result = root / f"{name}.pickle"
    with FileLock(root / f"{name}.lock"):
        if not result.exists():
            folder = root / name
            folder.mkdir()
            result.write_bytes(pickle.dumps(make(folder)))
        return cast("T", pickle.loads(result.read_bytes()))
