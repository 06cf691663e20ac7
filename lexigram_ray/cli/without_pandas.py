"""A command that a person waits for does not import pandas: it would be a fifth of a search."""

from __future__ import annotations

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
            raise ModuleNotFoundError("pandas is not wanted in this process", name=name)
        return None


def leave_out_pandas() -> None:
    """Have pyarrow do without pandas for the rest of this process.

    `import pyarrow.dataset`, which Lance does, makes a scalar, and that looks whether it is a
    pandas one. For processes that make no data frame, and start no Ray: pyarrow asks only once.
    """
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _NoPandas())
