"""Names of a package that are looked up when they are first used."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module


def looked_up(package: str, homes: Mapping[str, str], name: str) -> object:
    """Return what a package's name stands for, and keep it there.

    Args:
        package: The package's own name.
        homes: Where its names are defined: modules, or `.modules` of the package.
        name: What is asked for.

    Raises:
        AttributeError: The package has no such name.
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    value: object = getattr(import_module(homes[name], package), name)
    setattr(sys.modules[package], name, value)
    return value
