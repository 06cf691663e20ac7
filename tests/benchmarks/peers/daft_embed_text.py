"""Daft's `embed_text`, then `write_lance`."""

from __future__ import annotations

from pathlib import Path

from timing import MODEL, WARM_UP, Stopwatch, answer, arguments, read_texts

watch = Stopwatch()

import daft  # noqa: E402 - its import is timed
import lance  # noqa: E402
import pyarrow as pa  # noqa: E402
from daft.functions import embed_text  # noqa: E402

PACKAGES = ["daft", "daft-lance", "sentence-transformers", "torch"]


def main() -> None:
    options = arguments()
    watch.ended("import")
    few = pa.table({"id": [str(place) for place in range(len(WARM_UP))], "text": WARM_UP})
    write(few, options.out / "warm-up.lance")
    watch.ended("load")
    # It loads the model within each query: once more what a query of a few texts takes.
    write(few, options.out / "again.lance")
    watch.ended("load again")
    table = read_texts(options.texts)
    watch.ended("read")
    write(table, options.out / "chunks.lance")
    watch.ended("load again and run")
    rows = lance.dataset(str(options.out / "chunks.lance")).count_rows()
    load = watch.seconds["load again"]
    timed = watch.seconds["load again and run"] - load
    answer(watch, load=load, timed=timed, rows=rows, packages=PACKAGES)


def write(table: pa.Table, to: Path) -> None:
    frame = daft.from_arrow(table).with_column(
        "vector", embed_text(daft.col("text"), provider="transformers", model=MODEL)
    )
    frame.write_lance(str(to), mode="create")


if __name__ == "__main__":
    main()
