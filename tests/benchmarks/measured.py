"""Everything that the bench measures, each once and only when a part asks for it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks import ours
from tests.benchmarks.children import ChildRun, run_child
from tests.benchmarks.chunk_set import evenly, real_chunks, save
from tests.benchmarks.contenders import measure_peers
from tests.benchmarks.environments import PEERS, python_of
from tests.benchmarks.figures import Rate, mean_of
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.once import once
from tests.benchmarks.peers.warm_up import WARM_UP
from tests.command_line import REPOSITORY
from tests.corpus import questions

COLLECTION = "bench"
MODULES = "tests.benchmarks"
MODEL_TOKENS = 256
LONGEST_SECONDS = 1800
COLD_SEARCHES = 5
SMALL_RUNS = 3
SMALL_TEXTS = 10
MILLION_CHARACTERS = 380
SLICE_ROWS = 50_000

Peak = dict[str, dict[str, dict[str, float]]]
"""Operations a second, by type, kind of product and shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of everything: `chunks` for us, `peer_chunks` of them for each peer.

    Attributes:
        compared: Of our rows, how many are held against fp32.
        rows: Of the job whose provider costs nothing.
    """

    chunks: int
    peer_chunks: int
    compared: int
    rows: int


class Measured:
    """What is measured on this machine, in `folder`, in this run.

    Attributes:
        machine: See `describe_machine`.
        folder: Environments, chunks and the state directory are kept here.
    """

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.machine = describe_machine()
        self.folder = folder
        self._sizes = sizes
        self._state = folder / "state"

    @once
    def chunks(self) -> pa.Table:
        """Ours: `id`, `text`, `tokens`."""
        return evenly(real_chunks(self.folder), self._sizes.chunks)

    @once
    def peers(self) -> list[Rate]:
        """All peers on some of the chunks, each before ours and after: the mean of the two.

        The pace of a machine that others use too drifts by more than what is asked about.
        """
        before = self._peers_now()
        _ = self.ours
        after = self._peers_now()
        return [mean_of(*both) for both in zip(before, after, strict=True)]

    @once
    def ours(self) -> ours.Embedded:
        """The whole command on all chunks, with an empty cache, the model converted already."""
        shutil.rmtree(self._state, ignore_errors=True)
        with _told("ours: the model's first use"):
            ours.embed(self._rows("warm-up", WARM_UP), "warm-up", self._state, bulk=False)
        with _told(f"ours: {len(self.chunks):,} chunks"):
            return ours.embed(self._file, COLLECTION, self._state, bulk=True)

    @once
    def our_rate(self) -> Rate:
        """Ours, all but the start of Ray counted: model, pipeline, commits, index, check."""
        init = self.ray["init_seconds"]
        whole = self.ours.report["duration_seconds"]
        memory = self.ours.run.memory
        return Rate(
            name="lexigram-ray embed",
            kind="ours",
            chunks=len(self.chunks),
            tokens=sum(model_tokens(self.chunks)),
            seconds=whole - init,
            apart=f"import {self.ours.run.seconds - whole:.1f} s, ray.init {init:.1f} s",
            resident_mb=memory.resident_mb,
            share_mb=memory.share_mb,
        )

    @once
    def engine(self) -> ChildRun:
        """Our engine alone, in one process, on the same chunks."""
        _ = self.ours, self.peak_before
        with _told("the bare engine"):
            return self._module("engine_child", self._file, self._state)

    @property
    def engine_rate(self) -> Rate:
        """The bare engine's."""
        answer, memory = self.engine.answer, self.engine.memory
        return Rate(
            name=f"our bare engine, {answer['precision']}, no table",
            kind="engine",
            chunks=len(self.chunks),
            tokens=sum(model_tokens(self.chunks)),
            seconds=answer["seconds"],
            apart=f"load {answer['load_seconds']:.1f} s",
            resident_mb=memory.resident_mb,
            share_mb=memory.share_mb,
        )

    @once
    def peak_before(self) -> Peak:
        """Operations a second of matrix products, taken right before the engine."""
        return self._peak()

    @once
    def peak_after(self) -> Peak:
        """The same right after it: other loads of the machine are seldom there twice."""
        _ = self.engine
        return self._peak()

    @once
    def cosines(self) -> np.ndarray:
        """Of our rows to sentence-transformers in fp32; float32, shape `(compared,)`."""
        some = evenly(self.chunks, self._sizes.compared)
        out = self.folder / "fp32"
        found = self._vectors(some["id"].to_pylist())
        with _told(f"{len(some):,} chunks in fp32 by sentence-transformers"):
            file = save(some, self.folder / "texts" / "compared.parquet")
            python = python_of("peers", self.folder)
            command = [python, PEERS / "fp32_vectors.py", "--texts", file, "--out", out]
            run_child(command, timeout=LONGEST_SECONDS)
        expected = np.load(out / "vectors.npy")
        return np.einsum("ij,ij->i", expected, found)

    @once
    def again(self) -> tuple[ours.Embedded, ours.Embedded]:
        """The same command again; and the same texts into another collection."""
        _ = self.ours
        with _told("ours again, all of it known"):
            same = ours.embed(self._file, COLLECTION, self._state, bulk=True)
            other = ours.embed(self._file, "another", self._state, bulk=True)
        return same, other

    @once
    def cold_searches(self) -> list[float]:
        """Seconds of whole processes."""
        _ = self.ours
        with _told("cold searches"):
            asked = questions()[:COLD_SEARCHES]
            return [ours.search(each.text, COLLECTION, self._state).seconds for each in asked]

    @once
    def search_imports_torch(self) -> bool:
        """Whether a cold search imports torch."""
        _ = self.ours
        return ours.search_imports_torch(questions()[0].text, COLLECTION, self._state)

    @once
    def small_jobs(self) -> list[float]:
        """Seconds of whole processes that embed a few new texts."""
        _ = self.ours
        seconds: list[float] = []
        with _told("small jobs"):
            for run in range(SMALL_RUNS):
                texts = [f"text {number} of small job {run}" for number in range(SMALL_TEXTS)]
                file = self._rows(f"small-{run}", texts)
                done = ours.embed(file, f"small-{run}", self._state, bulk=False)
                seconds.append(done.run.seconds)
        return seconds

    @once
    def ray(self) -> dict[str, Any]:
        """What Ray costs a job that hardly embeds."""
        _ = self.ours
        with _told("Ray's fixed costs"):
            return self._module("ray_child", self._state).answer

    @once
    def idle_ray(self) -> ChildRun:
        """Ray as a job starts it, doing nothing."""
        with _told("idle Ray"):
            return self._module("ray_child", self._state, "idle")

    @once
    def million(self) -> ChildRun:
        """A bulk job whose provider costs nothing."""
        state = self.folder / "million-state"
        shutil.rmtree(state, ignore_errors=True)
        file = self._many_rows()
        with _told(f"a job of {self._sizes.rows:,} rows"):
            run = self._module("million_child", file, state)
        shutil.rmtree(state)
        return run

    def _peers_now(self) -> list[Rate]:
        some = evenly(self.chunks, self._sizes.peer_chunks)
        file = save(some, self.folder / "texts" / "peers.parquet")
        tokens = sum(model_tokens(some))
        rates: list[Rate] = []
        for rate in measure_peers(
            self.folder, file, chunks=len(some), tokens=tokens, of_chunks=len(self.chunks)
        ):
            _say(f"{rate.name}: {rate.seconds and f'{rate.chunks_per_second:.1f} chunks/s'}")
            rates.append(rate)
        return rates

    @once
    def _file(self) -> Path:
        return save(self.chunks, self.folder / "texts" / "ours.parquet")

    def _peak(self) -> Peak:
        with _told("the machine's matrix products"):
            return self._module("peak_child").answer

    def _rows(self, name: str, texts: list[str]) -> Path:
        file = self.folder / "texts" / f"{name}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps({"id": str(place), "text": text}) for place, text in enumerate(texts))
        file.write_text("\n".join(lines), encoding="utf-8")
        return file

    def _many_rows(self) -> Path:
        file = self.folder / "texts" / f"rows-{self._sizes.rows}.parquet"
        if file.is_file():
            return file
        file.parent.mkdir(parents=True, exist_ok=True)
        heads = [text[:MILLION_CHARACTERS] for text in self.chunks["text"].to_pylist()]
        schema = pa.schema([("id", pa.string()), ("text", pa.string())])
        unfinished = file.with_suffix(".unfinished")
        with pq.ParquetWriter(unfinished, schema) as writer:
            for start in range(0, self._sizes.rows, SLICE_ROWS):
                numbers = range(start, min(start + SLICE_ROWS, self._sizes.rows))
                texts = [f"{number}: {heads[number % len(heads)]}" for number in numbers]
                writer.write_table(pa.table([list(map(str, numbers)), texts], schema=schema))
        return unfinished.rename(file)

    def _vectors(self, ids: list[str]) -> np.ndarray:
        """Return our rows' vectors, in the order of `ids`."""
        import lance

        _ = self.ours
        dataset = lance.dataset(str(self._state / "lancedb" / f"{COLLECTION}.lance"))
        table = dataset.to_table(columns=["id", "vector"])
        place_of = {row_id: place for place, row_id in enumerate(table["id"].to_pylist())}
        flat = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        vectors = flat.reshape(len(table), -1)
        return vectors[[place_of[row_id] for row_id in ids]]

    def _module(self, name: str, *arguments: str | Path) -> ChildRun:
        command = [sys.executable, "-m", f"{MODULES}.{name}", *arguments]
        # Ray's workers import from there too.
        return run_child(command, env={"PYTHONPATH": str(REPOSITORY)}, timeout=LONGEST_SECONDS)


def model_tokens(table: pa.Table) -> list[int]:
    """Return the tokens that the model reads of each chunk."""
    return [min(tokens, MODEL_TOKENS) for tokens in table["tokens"].to_pylist()]


@contextmanager
def _told(what: str) -> Generator[None]:
    _say(f"{what} ...")
    yield


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
