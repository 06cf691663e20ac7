"""Whatever of the package is no Python is in the wheel all the same."""

from __future__ import annotations

import tomllib
from pathlib import Path

import lexigram_ray

PACKAGE = Path(lexigram_ray.__file__).parent
PROJECT = PACKAGE.parent / "pyproject.toml"


def test_every_file_of_the_package_is_installed() -> None:
    tool = tomllib.loads(PROJECT.read_text())["tool"]["setuptools"]
    patterns = tool["package-data"][PACKAGE.name]
    listed = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    files = {
        path
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and path.name != ".DS_Store"
    }
    assert listed == files
