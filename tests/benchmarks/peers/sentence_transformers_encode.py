"""sentence-transformers' `encode`, then one LanceDB table."""

from __future__ import annotations

from timing import MODEL, WARM_UP, Stopwatch, answer, arguments, read_texts

watch = Stopwatch()

import lancedb  # noqa: E402 - its import is timed
import pyarrow as pa  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402

PACKAGES = ["sentence-transformers", "transformers", "torch", "lancedb"]


def main() -> None:
    options = arguments(backend="torch", precision="fp32")
    watch.ended("import")
    model = load(options.backend, options.precision)
    model.encode(WARM_UP, show_progress_bar=False)
    table = read_texts(options.texts)
    texts = table["text"].to_pylist()
    watch.ended("load")
    vectors = model.encode(texts, show_progress_bar=False)
    watch.ended("encode")
    flat = pa.array(vectors.astype("float32", copy=False).reshape(-1))
    whole = table.append_column("vector", pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]))
    written = lancedb.connect(options.out).create_table("chunks", whole)
    watch.ended("write")
    openvino = ["optimum-intel", "openvino"] if options.backend == "openvino" else []
    timed = watch.seconds["encode"] + watch.seconds["write"]
    # With this backend it converts the model at each load; ours is converted already.
    loading = 0.0 if openvino else watch.seconds["load"]
    rows = written.count_rows()
    answer(watch, load=loading, timed=timed, rows=rows, packages=PACKAGES + openvino)


def load(backend: str, precision: str) -> SentenceTransformer:
    if backend == "openvino":
        return SentenceTransformer(MODEL, device="cpu", backend="openvino")
    options = {"dtype": "bfloat16"} if precision == "bf16" else {}
    return SentenceTransformer(MODEL, device="cpu", model_kwargs=options)


if __name__ == "__main__":
    main()
