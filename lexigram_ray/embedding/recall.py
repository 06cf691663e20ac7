"""What int8 costs: how many of a text's nearest neighbours are still found, on the user's texts."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import TextsRefusedError
from lexigram_ray.core.protocols import EmbeddingProvider
from lexigram_ray.embedding import devices, model_store
from lexigram_ray.embedding.fingerprint import fingerprint
from lexigram_ray.embedding.quantization import in_floats

if TYPE_CHECKING:
    from lexigram_ray.embedding.engine import LocalProvider
    from lexigram_ray.embedding.models import LocalModel

NEIGHBOURS = 10
# Ten neighbours among a few dozen texts say nothing.
LEAST_TEXTS = 50
MOST_TEXTS = 200
# For a slow model fewer texts are taken, though not too few, so that a pass in fp32 ends in time.
FEWER_TEXTS = 100
PASS_SECONDS = 15.0
WARM_UP_TEXTS = 8
ROUNDS = 2

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallReport:
    """How int8 vectors compare with those of floats, on some texts.

    Attributes:
        texts: How many texts were compared.
        dimension: Of the vectors.
        recall_at_10: The share of each text's ten nearest others, by fp32 vectors, that are among
            the ten nearest by int8 vectors too. In a larger collection neighbours lie closer
            together, and the share is lower.
        mean_cosine: Of a text's two vectors.
        min_cosine: Of the text that changed most.
        texts_per_second: Of int8 on these texts.
        usual_precision: What this machine computes in unless asked.
        usual_texts_per_second: Of that, on the same texts, by turns with int8.
    """

    texts: int
    dimension: int
    recall_at_10: float
    mean_cosine: float
    min_cosine: float
    texts_per_second: float
    usual_precision: str
    usual_texts_per_second: float


def recall_at_k(
    reference: NDArray[np.float32],
    candidate: NDArray[np.float32],
    queries: Sequence[int] | None = None,
    *,
    k: int = NEIGHBOURS,
) -> float:
    """Return the share of exact neighbours that stay neighbours. Pure.

    Args:
        reference: float32, shape `(n, dim)`, rows L2-normalised.
        candidate: The same texts' other vectors, shape `(n, any dim)`, rows L2-normalised.
        queries: The rows that are looked for, each without itself; all unless given.
        k: How many neighbours.

    Raises:
        ValueError: The rows are not as many, there are not more than `k`, or no query.
    """
    rows = np.arange(len(reference)) if queries is None else np.asarray(queries, np.int64)
    if len(reference) != len(candidate):
        raise ValueError(f"{len(reference)} vectors cannot be held against {len(candidate)}")
    if not 1 <= k < len(reference) or not len(rows):
        raise ValueError(f"{k} neighbours of {len(rows)} among {len(reference)} vectors")
    kept = [
        len(np.intersect1d(expected, found, assume_unique=True))
        for expected, found in zip(
            _neighbours(reference, rows, k), _neighbours(candidate, rows, k), strict=True
        )
    ]
    return float(np.mean(kept)) / k


def measure_int8(
    model: LocalModel, texts: Sequence[str], *, models_dir: Path, threads: int | None = None
) -> RecallReport | None:
    """Compare an int8 model with its floats, and keep the report beside the model.

    Takes half a minute for a model of MiniLM's size, and some minutes for a large one.

    Args:
        model: In int8, from `describe_model`.
        texts: The user's own; some hundred from all over the collection, of which 100 to 200 are
            used.
        models_dir: Where converted models are kept.
        threads: CPU cores to compute on; all that this process may use unless given.

    Returns:
        None where there are fewer than 50 different texts: too few to say anything.

    Raises:
        WorkerError: A model cannot be loaded, or failed.
    """
    from lexigram_ray.embedding.engine import load_provider

    if len(set(texts)) < LEAST_TEXTS:
        return None
    threads = threads or devices.available_cpus()
    report = measure_recall(
        _in_floats(model, "fp32", models_dir, threads),
        load_provider(model, models_dir=models_dir, threads=threads, backend="openvino"),
        texts,
        usual=_in_floats(model, "bf16", models_dir, threads) if devices.cpu_has_bf16() else None,
    )
    if report is not None:
        _keep(report, model, models_dir)
    return report


def measure_recall(
    reference: EmbeddingProvider,
    candidate: EmbeddingProvider,
    texts: Sequence[str],
    *,
    usual: EmbeddingProvider | None = None,
) -> RecallReport | None:
    """Compare two providers of vectors for the same texts.

    Args:
        reference: Its vectors are held to be right.
        candidate: Is compared.
        texts: The user's own; repeats are left out, and at most 200 are used, from all over.
        usual: Whose speed the candidate's is held against; the reference's unless given.

    Returns:
        None where fewer than 50 different texts are there, or have a vector.

    Raises:
        EmbeddingError: A provider failed.
    """
    sample = list(dict.fromkeys(texts))
    if len(sample) < LEAST_TEXTS:
        return None
    usual = usual or reference
    for provider in (candidate, usual):
        _embedded(provider, sample[:WARM_UP_TEXTS])
    most = min(len(sample), _affordable(reference, sample[:WARM_UP_TEXTS]))
    sample = [sample[place] for place in np.linspace(0, len(sample) - 1, most, dtype=int).tolist()]
    right, _ = _embedded(reference, sample)
    ours, seconds, usual_seconds = right, np.inf, np.inf
    for _ in range(ROUNDS):
        ours, took = _embedded(candidate, sample)
        seconds = min(seconds, took)
        usual_seconds = min(usual_seconds, _embedded(usual, sample)[1])
    good = np.isfinite(right).all(axis=1) & np.isfinite(ours).all(axis=1)
    if good.sum() < LEAST_TEXTS:
        return None
    right, ours = right[good], ours[good]
    cosines = np.einsum("ij,ij->i", right, ours)
    return RecallReport(
        texts=len(right),
        dimension=right.shape[1],
        recall_at_10=recall_at_k(right, ours),
        mean_cosine=float(cosines.mean()),
        min_cosine=float(cosines.min()),
        texts_per_second=len(sample) / seconds,
        usual_precision=usual.spec.precision,
        usual_texts_per_second=len(sample) / usual_seconds,
    )


def read_report(model: LocalModel, *, models_dir: Path) -> RecallReport | None:
    """Return the report that is kept beside an int8 model; None where there is none for it."""
    file = _file(model, models_dir)
    try:
        content: object = json.loads(file.read_text(encoding="utf-8"))
        facts = cast("dict[str, object]", content) if isinstance(content, dict) else {}
        report = RecallReport(**{item.name: facts[item.name] for item in fields(RecallReport)})  # pyright: ignore[reportArgumentType]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError) as error:
        logger.debug("cannot read %s: %s", file, error)
        return None
    return report if report.dimension == model.spec.dimension else None


def _neighbours(vectors: NDArray[np.float32], rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    cosines = vectors[rows] @ vectors.T
    cosines[np.arange(len(rows)), rows] = -np.inf
    return np.argsort(-cosines, axis=1, kind="stable")[:, :k]


def _in_floats(model: LocalModel, precision: str, models_dir: Path, threads: int) -> LocalProvider:
    # Both precisions run the converted model that int8 was made of: nothing is converted for this.
    from lexigram_ray.embedding.conversion import converted_floats
    from lexigram_ray.embedding.engine import LocalProvider
    from lexigram_ray.embedding.openvino_engine import OpenVinoBackend

    found = converted_floats(model, models_dir=models_dir, threads=threads)
    backend = OpenVinoBackend(
        found.model,
        precision=precision,
        threads=threads,
        padding_only=found.padding_only,
        # As in use: only its speed is looked at.
        summed=precision == "bf16",
    )
    return LocalProvider(in_floats(model, precision), backend)


def _affordable(reference: EmbeddingProvider, texts: Sequence[str]) -> int:
    _embedded(reference, texts[:1])
    _, seconds = _embedded(reference, texts)
    return int(np.clip(PASS_SECONDS * len(texts) / seconds, FEWER_TEXTS, MOST_TEXTS))


def _embedded(
    provider: EmbeddingProvider, texts: Sequence[str]
) -> tuple[NDArray[np.float32], float]:
    """Return vectors, NaN for refused texts, and the seconds that they took."""
    # What is cut was said when the texts were embedded for use: a provider that counts is silent.
    counted = getattr(provider, "embed_counted", None)
    began = time.perf_counter()
    try:
        vectors = provider.embed_texts(texts) if counted is None else counted(texts).vectors
    except TextsRefusedError as error:
        vectors = error.vectors.copy()
        vectors[list(error.reasons)] = np.nan
    return vectors, time.perf_counter() - began


def _file(model: LocalModel, models_dir: Path) -> Path:
    return models_dir / fingerprint(model.uncut.spec) / model_store.RECALL


def _keep(report: RecallReport, model: LocalModel, models_dir: Path) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=models_dir, prefix=".recall.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as output:
            json.dump(asdict(report), output, sort_keys=True, indent=1)
        os.replace(temporary, _file(model, models_dir))
    except OSError as error:
        logger.debug("the report on int8 cannot be kept in %s: %s", models_dir, error)
        with contextlib.suppress(OSError):
            os.unlink(temporary)
