"""A search imports no pandas, and keeps it from nobody else."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from importlib.util import find_spec
from lexigram_ray.cli.lean_pyarrow import import_pyarrow_without_pandas

import_pyarrow_without_pandas()
import lance, pyarrow
pyarrow.table({"words": ["a", "b"], "numbers": [1, 2]}).filter(pyarrow.array([True, False]))
print("pandas" in sys.modules, find_spec("pandas") is not None)
"""


def test_pyarrow_does_without_pandas_and_others_can_have_it() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
