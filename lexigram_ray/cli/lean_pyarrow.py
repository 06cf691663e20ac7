"""pyarrow without pandas, for `search`, of whose time it would be a fifth."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec


class _NoPandas:
    """Answers for pandas, as if it were not installed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        """Refuse pandas; leave all else to whoever comes next."""
        if name == "pandas":
            raise ModuleNotFoundError("pyarrow is to do without pandas", name=name)
        return None


def import_pyarrow_without_pandas() -> None:
    """Import the part of pyarrow that Lance needs, and have pyarrow do without pandas ever after.

    `import pyarrow.dataset` makes a scalar, and that looks whether it is one of pandas'. pyarrow
    looks only once: this is for processes that turn no table into a data frame, and start no Ray.
    Whoever else wants pandas can have it.
    """
    if "pandas" in sys.modules or "pyarrow.dataset" in sys.modules:
        return
    hidden = _NoPandas()
    sys.meta_path.insert(0, hidden)
    try:
        importlib.import_module("pyarrow.dataset")
    finally:
        sys.meta_path.remove(hidden)
