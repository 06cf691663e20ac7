"""Paths as the user gave them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lexigram_ray.core.errors import UsageError


def check_paths(paths: Iterable[Path]) -> None:
    """Check that each leads somewhere; `~` is the user's home.

    Raises:
        UsageError: One does not.
    """
    for path in paths:
        if not os.path.lexists(path.expanduser()):
            raise UsageError(f"no such file or folder: {path}", hint="check the path; see `ls`")
