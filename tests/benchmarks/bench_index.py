"""A million rows before and after index optimisation: time, recall, fragments, disk.

Queries are asked all the time while it runs. Run by `make bench`; takes some minutes. Prints
Markdown tables, and returns 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.recall import share_found
from lexigram_ray.vectors.rows import merge_rows
from lexigram_ray.vectors.search import search
from tests.benchmarks.figures import Figure, figure, print_figures
from tests.benchmarks.machine import describe_machine, print_machine
from tests.benchmarks.resampled import SETTINGS, Resampled, question_vectors
from tests.command_line import REPOSITORY

NAME = "resampled"
FOLDER = REPOSITORY / ".bench"
SEED = 11
QUERIES = 40
LIMIT = 10
CONDITION = "page = 7"
HALF = "page < 25"
A_WEEK_LATER = 24.0 * 8
GB = 1e9


def main() -> int:
    """Measure, and print; 1 where a goal is missed."""
    options = _options()
    FOLDER.mkdir(parents=True, exist_ok=True)
    print_machine(describe_machine())
    root = FOLDER / "index"
    shutil.rmtree(root, ignore_errors=True)
    drawn = Resampled(options.vectors, SEED)
    try:
        figures = _measured(root, drawn, question_vectors(options.vectors), options)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print_figures(f"index optimisation, {options.rows:,} rows", figures)
    return int(any(each.ok is False for each in figures))


@dataclass(slots=True)
class Asking:
    """Searches without a pause from a thread of its own until it is left."""

    collection: Collection
    queries: NDArray[np.float32]
    seconds: list[float] = field(default_factory=list[float])
    errors: list[str] = field(default_factory=list[str])
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Asking:
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _ask(self) -> None:
        asked = 0
        while not self._over.is_set():
            began = time.perf_counter()
            try:
                self.collection.refresh()
                if len(_found(self.collection, self.queries[asked % len(self.queries)])) != LIMIT:
                    self.errors.append("too few hits")
            except WorkerError as error:
                self.errors.append(error.message)
            self.seconds.append(time.perf_counter() - began)
            asked += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What some queries have found, and how long the middle one took."""

    ids: list[list[str]]
    p50_ms: float


def _measured(
    root: Path,
    drawn: Resampled,
    questions: NDArray[np.float32],
    options: argparse.Namespace,
) -> list[Figure]:
    rows: int = options.rows
    segment: int = options.segment
    collections = Collections(root)
    collection = collections.create(NAME, SETTINGS, "bench")
    began = time.monotonic()
    for table in drawn.segments(rows, segment):
        merge_rows(collection, table)
    written = time.monotonic() - began
    queries = drawn.vectors(QUERIES)
    exact = _answers(collection, queries)
    exact_to_questions = _answers(collection, questions)
    exact_by_condition = _answers(collection, queries, CONDITION)
    exact_by_half = _answers(collection, queries, HALF)
    with Asking(collections.open(NAME), queries) as asking:
        done = _look_after(root, 0.0)
    collection.refresh()
    after = _answers(collection, queries)
    to_questions = _answers(collection, questions)
    by_condition = _answers(collection, queries, CONDITION)
    by_half = _answers(collection, queries, HALF)
    with Asking(collections.open(NAME), queries) as asking_later:
        later = _look_after(root, A_WEEK_LATER)
    errors = [*asking.errors, *asking_later.errors]
    return [
        figure("rows written", rows, note=f"{rows // segment} commits in {written:.0f} s"),
        figure("query p50, exact", exact.p50_ms, "ms"),
        figure("query p50, optimised", after.p50_ms, "ms"),
        figure("faster", exact.p50_ms / after.p50_ms, "times", at_least=10),
        figure(
            "recall@10, new queries",
            _recall(exact, after),
            at_least=0.95,
            note=f"effort {done['effort']}",
        ),
        figure(
            "recall@10, twenty questions",
            _recall(exact_to_questions, to_questions),
            at_least=0.95,
        ),
        figure("recall@10 within 2 % of the rows", _recall(exact_by_condition, by_condition)),
        figure("... query p50, before", exact_by_condition.p50_ms, "ms"),
        figure("... query p50, after", by_condition.p50_ms, "ms"),
        figure("recall@10 within half of the rows", _recall(exact_by_half, by_half)),
        figure("... query p50, before", exact_by_half.p50_ms, "ms"),
        figure("... query p50, after", by_half.p50_ms, "ms"),
        figure("optimisation", done["seconds"], "s", note=_steps(done)),
        figure("its peak memory", done["peak_mb"], "MB"),
        figure("fragments before", done["before"]["fragments"]),
        figure("fragments after", done["after"]["fragments"]),
        figure("disk after it", _total(done["after"]) / GB, "GB"),
        figure("... of it dead", done["after"]["dead_bytes"] / GB, "GB"),
        figure("versions gone a week later", later["versions_removed"]),
        figure("disk given back", later["bytes_freed"] / GB, "GB"),
        figure("disk then", _total(later["after"]) / GB, "GB"),
        figure("queries meanwhile", len(asking.seconds) + len(asking_later.seconds)),
        figure("... slowest", 1000 * max(asking.seconds), "ms"),
        figure("... failed", len(errors), below=1, note="; ".join(sorted(set(errors)))),
    ]


def _look_after(root: Path, hours: float) -> dict[str, Any]:
    child = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.index_child", str(root), NAME, str(hours)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(child.stdout)
    if answer["failed"] or answer["put_off"]:
        raise SystemExit(f"not done: {answer['failed']} {answer['put_off']}")
    return answer


def _answers(
    collection: Collection, queries: NDArray[np.float32], where: str | None = None
) -> Answers:
    _found(collection, queries[0], where)
    ids: list[list[str]] = []
    seconds: list[float] = []
    for query in queries:
        began = time.perf_counter()
        ids.append(_found(collection, query, where))
        seconds.append(time.perf_counter() - began)
    return Answers(ids=ids, p50_ms=1000 * statistics.median(seconds))


def _found(
    collection: Collection, query: NDArray[np.float32], where: str | None = None
) -> list[str]:
    hits = search(collection, mode="vector", text=None, vector=query, limit=LIMIT, where=where)
    return [hit.id for hit in hits]


def _recall(exact: Answers, after: Answers) -> float:
    shares = [share_found(right, found) for right, found in zip(exact.ids, after.ids, strict=True)]
    return statistics.fmean(shares)


def _steps(done: dict[str, Any]) -> str:
    steps: Sequence[tuple[float, str]] = done["steps"]
    ends = [began for began, _ in steps[1:]] + [done["seconds"]]
    return "; ".join(
        f"{line.partition(': ')[2]} {end - began:.0f} s"
        for (began, line), end in zip(steps, ends, strict=True)
    )


def _total(use: dict[str, int]) -> int:
    return use["live_bytes"] + use["dead_bytes"]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--segment", type=int, default=10_000, help="rows of a commit")
    parser.add_argument(
        "--vectors", type=Path, default=FOLDER, help="where real chunks and vectors are kept"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
