"""Whether the model still makes the vectors that it made at first sight: a plain text tells."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lexigram_ray.core.errors import ModelNotFoundError
from lexigram_ray.embedding.json_file import read_object, write_object
from lexigram_ray.maintenance.verdicts import Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.core.types import ModelSpec
    from lexigram_ray.embedding.models import LocalModel
    from lexigram_ray.embedding.server_model import ServerModel

FOLDER = "canaries"
TEXT = "The quick brown fox jumps over the lazy dog."
# Precisions and threads of one model differ by less.
LEAST_COSINE = 0.999
THREADS = 1
"""Of the model under test: the machine's work is not held up for it."""


def canary_look(config: WorkersConfig, *, is_used: bool) -> Verdict:
    """Embed a plain text, and compare its vector with the one kept at first sight.

    A server's model is compared with what the server has answered at first; a server that is not
    there is found out likewise.

    Args:
        is_used: Whether there is a collection. Without one, and with no model made ready yet,
            nothing is looked at: a look must not fetch or convert a model that nobody has asked
            for.

    Raises:
        WorkerError: The model is gone, is damaged, or does not answer.
    """
    from lexigram_ray.embedding.server_model import ServerModel
    from lexigram_ray.jobs.recipes import find_model

    # The hub's client reads this when it is imported: looking must not become a download.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        model = find_model(config)
    except ModelNotFoundError:
        if is_used:
            raise
        return _nothing_yet()
    if isinstance(model, ServerModel):
        return _server_look(model)
    if not is_used and not _is_ready(config, model):
        return _nothing_yet()
    return _local_look(config, model)


def canary_file(models_dir: Path, spec: ModelSpec) -> Path:
    """Return where a model's vector of the plain text is kept.

    Not in the converted model's own folder, which is damaged when it holds anything else.
    """
    from lexigram_ray.embedding.fingerprint import fingerprint

    return models_dir / FOLDER / f"{fingerprint(spec)}.json"


def _local_look(config: WorkersConfig, model: LocalModel) -> Verdict:
    from lexigram_ray.jobs.recipes import ROWS, Recipe, load_model

    vector = load_model(config, Recipe(model, ROWS), THREADS).embed_texts([TEXT])[0]
    spec = model.spec
    file = canary_file(config.paths.models, spec)
    kept = _kept(file, spec.dimension)
    if kept is None:
        was_there = file.exists()
        _keep(file, spec, vector)
        detail = f"{spec.name} answers; its vector of a plain text is kept from now on"
        if was_there:
            detail += " (the one that was kept could not be read)"
        return Verdict(status="warn" if was_there else "ok", detail=detail)
    cosine = float(vector @ kept)
    figures = {"canary_cosine": round(cosine, 6)}
    if cosine < LEAST_COSINE:
        return Verdict(
            status="fail",
            detail=f"{spec.name} makes another vector of a plain text than at first "
            f"(cosine {cosine:.3f})",
            fix=f"remove {config.paths.models}, so that the model is made ready anew; where that "
            f"does not help, its own files have changed. {file} has the first vector",
            figures=figures,
        )
    detail = f"{spec.name} makes the vector that it made at first (cosine {cosine:.4f})"
    return Verdict(status="ok", detail=detail, figures=figures)


def _server_look(model: ServerModel) -> Verdict:
    from lexigram_ray.embedding.server_provider import ServerProvider

    provider = ServerProvider(model)
    try:
        provider.embed_texts([TEXT])
    finally:
        provider.close()
    detail = f"the server of {model.spec.name} answers as it did at first"
    return Verdict(status="ok", detail=detail)


def _is_ready(config: WorkersConfig, model: LocalModel) -> bool:
    from lexigram_ray.embedding.fingerprint import fingerprint

    return (config.paths.models / fingerprint(model.uncut.spec)).is_dir()


def _nothing_yet() -> Verdict:
    return Verdict(
        status="ok", detail="not looked at: there is no collection and no model made ready yet"
    )


def _kept(file: Path, dimension: int) -> NDArray[np.float32] | None:
    import numpy as np

    numbers = read_object(file).get("vector")
    try:
        vector = np.array(cast("list[float]", numbers), dtype=np.float32)
    except (TypeError, ValueError):
        return None
    is_unit = vector.shape == (dimension,) and abs(float(np.linalg.norm(vector)) - 1) < 1e-3
    return vector if is_unit else None


def _keep(file: Path, spec: ModelSpec, vector: NDArray[np.float32]) -> None:
    record = {"model": spec.name, "text": TEXT, "vector": [float(number) for number in vector]}
    write_object(file, record)
