"""The parts of the bench: from what was measured to figures, each held against its goal."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from tests.benchmarks.contenders import ALL_PEERS
from tests.benchmarks.figures import Figure, Rate, figure
from tests.benchmarks.flops import forward_flops
from tests.benchmarks.machine import has_bf16
from tests.benchmarks.measured import Measured, model_tokens

GIGA = 1e9
MB_IN_GB = 1000 / 1.048576


def against_peers(measured: Measured) -> Sequence[Figure]:
    """How many times as fast as each peer the whole way is."""
    peers, ours = measured.peers, measured.our_rate
    tuned = {peer.name for peer in ALL_PEERS if peer.tuned}
    figures: list[Figure] = []
    best: Rate | None = None
    for peer in peers:
        asked = None if peer.name in tuned else 3.0
        ratio = _ratio(ours, peer)
        figures.append(figure(f"ours to {peer.name}", ratio, "x", at_least=asked, note=peer.note))
        if ratio is not None and (best is None or ratio < (_ratio(ours, best) or 0)):
            best = peer
    name = best.name if best is not None else "none ran"
    closest = _ratio(ours, best) if best is not None else None
    figures.append(figure(f"ours to the best peer ({name})", closest, "x", at_least=1.3))
    report, phases = measured.ours.report, measured.ours.phases
    whole = report["duration_seconds"]
    rows = figure("rows in the table", report["rows"], at_least=ours.chunks)
    return [
        *figures,
        rows,
        figure("ours, chunks/s with ray.init counted", ours.chunks / whole),
        figure("texts read, checked and staged after", phases.get("starting"), "s"),
        figure("first result after", phases.get("embedding"), "s"),
        figure("job's whole time", whole, "s"),
        figure("processes left behind", measured.ours.run.left_over, below=1),
    ]


def engine(measured: Measured) -> Sequence[Figure]:
    """The bare engine against the machine, and the whole way against it."""
    bare, answer = measured.engine_rate, measured.engine.answer
    kind = "bf16" if has_bf16(measured.machine) else "fp32"
    flops = forward_flops(answer["config"], model_tokens(measured.chunks)) / answer["seconds"]
    looks = [measured.peak_before[kind], measured.peak_after[kind]]
    large = max(max(look["large"].values()) for look in looks)
    own = max(_of_a_layer(look["minilm"]) for look in looks)
    return [
        figure("whole way to the bare engine", _ratio(measured.our_rate, bare), "x", at_least=0.88),
        figure("bare engine", flops / GIGA, "GFLOP/s"),
        figure(f"{kind} matrix products, large", large / GIGA, "GFLOP/s"),
        figure(f"{kind} matrix products, those of a MiniLM layer", own / GIGA, "GFLOP/s"),
        figure(
            f"engine to {kind} matrix products",
            flops / large,
            "x",
            at_least=0.75 if kind == "bf16" else None,
        ),
        figure("torch imported by the engine", int(answer["torch_imported"]), below=1),
    ]


def exactness(measured: Measured) -> Sequence[Figure]:
    """Our rows beside sentence-transformers in fp32."""
    cosines = measured.cosines
    return [
        figure(
            f"cosine to fp32, the worst of {len(cosines):,} rows",
            float(cosines.min()),
            at_least=0.999,
        ),
        figure("cosine to fp32, mean", float(cosines.mean())),
    ]


def cached(measured: Measured) -> Sequence[Figure]:
    """The same work again."""
    first = measured.ours.run.seconds
    same, other = measured.again
    return [
        figure("the same command again", same.run.seconds, "s"),
        figure("first to that", first / same.run.seconds, "x", at_least=50),
        figure("the same texts into another collection", other.run.seconds, "s"),
        figure("first to that", first / other.run.seconds, "x", at_least=50),
        figure(
            "texts embedded by these two",
            sum(_computed(run.report) for run in (same, other)),
            below=1,
        ),
    ]


def search(measured: Measured) -> Sequence[Figure]:
    """Commands that a person waits for."""
    answer = measured.engine.answer
    return [
        figure("cold search, median", statistics.median(measured.cold_searches), "s", below=1.2),
        figure("torch imported by it", int(measured.search_imports_torch), below=1),
        figure("warm query, median", answer["query_ms"], "ms", below=5),
        figure("warm query, 95th percentile", answer["query_p95_ms"], "ms"),
        figure(
            "embed of 10 texts, cold, median", statistics.median(measured.small_jobs), "s", below=3
        ),
    ]


def ray(measured: Measured) -> Sequence[Figure]:
    """What Ray costs."""
    costs = measured.ray
    cold, again, warm = (f"in {place}" for place in costs["places"])
    return [
        figure("ray.init", costs["init_seconds"], "s"),
        figure("pipeline start to first result", costs["cold_seconds"], "s", below=4, note=cold),
        figure("the same again in that Ray", costs["again_seconds"], "s", note=again),
        figure(
            "10 texts where all is warm, whole", costs["warm_seconds"], "s", below=0.3, note=warm
        ),
    ]


def million(measured: Measured) -> Sequence[Figure]:
    """A job of many rows with a provider that costs nothing."""
    run = measured.million
    answer, phases = run.answer, run.answer["phases"]
    read = answer["texts"]["read"]
    init = measured.ray["init_seconds"]
    idle = measured.idle_ray.memory.share_mb / MB_IN_GB
    used = run.memory.share_mb / MB_IN_GB
    return [
        figure("rows in the table", answer["rows"], at_least=read),
        figure("rows/s, ray.init apart", read / (answer["seconds"] - init), at_least=20_000),
        figure("staged after", phases.get("starting"), "s"),
        figure("first result after", phases.get("embedding"), "s"),
        figure("embedded and committed after", phases.get("indexing"), "s"),
        figure("indexed after", phases.get("checking"), "s"),
        figure("whole time", answer["seconds"], "s"),
        figure("peak memory of all processes", used, "GB"),
        figure("idle Ray", idle, "GB"),
        figure("peak beyond Ray's own", used - idle, "GB", below=3),
    ]


PARTS: dict[str, tuple[str, Callable[[Measured], Sequence[Figure]]]] = {
    "peers": ("whole way, texts to committed table", against_peers),
    "engine": ("engine", engine),
    "cosine": ("vectors", exactness),
    "cached": ("again", cached),
    "search": ("waiting", search),
    "ray": ("Ray", ray),
    "million": ("many rows", million),
}


def _ratio(ours: Rate, other: Rate) -> float | None:
    if not ours.chunks_per_second or not other.chunks_per_second:
        return None
    return ours.chunks_per_second / other.chunks_per_second


def _of_a_layer(rates: dict[str, float]) -> float:
    """Return the rate of a layer's six products: four of attention, two of the feed-forward."""
    parts = [(4 if name.endswith("384x384") else 1, name) for name in rates]
    work = [(times * math.prod(map(int, name.split("x"))), rates[name]) for times, name in parts]
    return sum(size for size, _ in work) / sum(size / rate for size, rate in work)


def _computed(report: dict[str, dict[str, int]]) -> int:
    return report["texts"]["embedded"]
