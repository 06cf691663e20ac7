"""Vectors of sentence-transformers in fp32: what every other vector is compared with."""

from __future__ import annotations

import numpy as np
from sentence_transformers import SentenceTransformer
from timing import MODEL, Stopwatch, answer, arguments, read_texts


def main() -> None:
    options = arguments()
    watch = Stopwatch()
    model = SentenceTransformer(MODEL, device="cpu")
    texts = read_texts(options.texts)["text"].to_pylist()
    vectors = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    options.out.mkdir(parents=True, exist_ok=True)
    np.save(options.out / "vectors.npy", vectors.astype(np.float32))
    watch.ended("encode")
    answer(
        watch,
        timed=watch.seconds["encode"],
        rows=len(vectors),
        packages=["sentence-transformers", "torch"],
    )


if __name__ == "__main__":
    main()
