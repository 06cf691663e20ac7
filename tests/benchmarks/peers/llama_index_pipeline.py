"""LlamaIndex's IngestionPipeline with a local Hugging Face model, into its LanceDB store."""

from __future__ import annotations

from timing import MODEL, WARM_UP, Stopwatch, answer, arguments, read_texts

watch = Stopwatch()

import lancedb  # noqa: E402 - its import is timed
from llama_index.core.ingestion import IngestionPipeline  # noqa: E402
from llama_index.core.schema import TextNode  # noqa: E402
from llama_index.embeddings.huggingface import HuggingFaceEmbedding  # noqa: E402
from llama_index.vector_stores.lancedb import LanceDBVectorStore  # noqa: E402

PACKAGES = [
    "llama-index-core",
    "llama-index-embeddings-huggingface",
    "llama-index-vector-stores-lancedb",
    "torch",
]


def main() -> None:
    options = arguments()
    watch.ended("import")
    model = HuggingFaceEmbedding(model_name=MODEL, device="cpu")
    model.get_text_embedding_batch(WARM_UP)
    store = LanceDBVectorStore(uri=str(options.out), table_name="chunks")
    pipeline = IngestionPipeline(transformations=[model], vector_store=store, disable_cache=True)
    table = read_texts(options.texts).to_pylist()
    watch.ended("load")
    pipeline.run(nodes=[TextNode(id_=row["id"], text=row["text"]) for row in table])
    watch.ended("run")
    rows = lancedb.connect(options.out).open_table("chunks").count_rows()
    load, timed = watch.seconds["load"], watch.seconds["run"]
    answer(watch, load=load, timed=timed, rows=rows, packages=PACKAGES)


if __name__ == "__main__":
    main()
