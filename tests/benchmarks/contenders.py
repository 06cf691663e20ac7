"""The peers, one process each, and the bare engine: who is measured, and how."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tests.benchmarks.children import ChildFailed, run_child
from tests.benchmarks.environments import PEERS, NotInstalled, python_of
from tests.benchmarks.figures import Rate

LONGEST_SECONDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another way from texts to a table.

    Attributes:
        environment: The virtual environment it lives in.
        script: In `peers/`.
        tuned: Whether it is more than what one gets as it comes.
    """

    name: str
    environment: str
    script: str
    options: tuple[str, ...] = ()
    tuned: bool = False


ENCODE = "sentence_transformers_encode.py"
ALL_PEERS = (
    Peer(name="sentence-transformers + lancedb", environment="peers", script=ENCODE),
    Peer(
        name="sentence-transformers bf16 + lancedb",
        environment="peers",
        script=ENCODE,
        options=("--precision", "bf16"),
        tuned=True,
    ),
    Peer(
        name="sentence-transformers openvino + lancedb",
        environment="openvino",
        script=ENCODE,
        options=("--backend", "openvino"),
        tuned=True,
    ),
    Peer(
        name="LlamaIndex IngestionPipeline + LanceDB",
        environment="peers",
        script="llama_index_pipeline.py",
    ),
    Peer(name="Daft embed_text + write_lance", environment="peers", script="daft_embed_text.py"),
)


def measure_peers(
    folder: Path, texts: Path, *, chunks: int, tokens: int, of_chunks: int
) -> Iterator[Rate]:
    """Yield how fast each peer is; one that cannot be installed or fails says why.

    Ours loads its model within the time that counts. So do they, once for as many chunks as ours
    gets: these chunks are charged with their share of it.

    Args:
        folder: Where environments and the peers' tables are put.
        texts: A Parquet file with the columns `id` and `text`.
        chunks: Rows of that file.
        tokens: That the model reads of them.
        of_chunks: In the job for which the model is loaded once.
    """
    for peer in ALL_PEERS:
        base = Rate(name=peer.name, kind="peer", chunks=chunks, tokens=tokens)
        try:
            yield _measure(peer, folder, texts, base, of_chunks)
        except NotInstalled as error:
            yield replace(base, note=f"not installed: {error}")
        except ChildFailed as error:
            yield replace(base, note=f"failed: {error}")


def _measure(peer: Peer, folder: Path, texts: Path, base: Rate, of_chunks: int) -> Rate:
    python = python_of(peer.environment, folder)
    out = folder / "peer-table"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    command = [python, PEERS / peer.script, "--texts", texts, "--out", out, *peer.options]
    run = run_child(command, timeout=LONGEST_SECONDS)
    shutil.rmtree(out)
    if run.answer["rows"] != base.chunks:
        raise ChildFailed(f"its table has {run.answer['rows']} rows of {base.chunks}")
    steps = run.answer["steps"]
    load = run.answer["load"]
    return replace(
        base,
        seconds=run.answer["seconds"] + load * base.chunks / of_chunks,
        apart=f"import {steps['import']:.1f} s",
        resident_mb=run.memory.resident_mb,
        share_mb=run.memory.share_mb,
        versions=", ".join(f"{name} {of}" for name, of in run.answer["versions"].items()),
    )
