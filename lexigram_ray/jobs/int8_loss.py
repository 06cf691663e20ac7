"""What int8 has cost, said at the end of a run that used it."""

from __future__ import annotations

import logging

import numpy as np

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import WorkerError
from lexigram_ray.embedding.models import LocalModel
from lexigram_ray.jobs.recipes import Recipe
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.rows import texts_at

SAMPLED_TEXTS = 400

logger = logging.getLogger("lexigram_ray")


def int8_notes(config: WorkersConfig, recipe: Recipe, collection: Collection) -> tuple[str, ...]:
    """Return what to say of int8's loss; nothing for other precisions.

    It is measured once for a model, on texts from all over the collection, which takes half a
    minute and more; later runs say what was measured then.
    """
    model = recipe.model
    if not isinstance(model, LocalModel) or model.spec.precision != "int8":
        return ()
    from lexigram_ray.embedding.recall import measure_int8, read_report

    models_dir = config.paths.models
    report = read_report(model, models_dir=models_dir)
    whose = "texts of an earlier run"
    if report is None:
        whose = "of your texts"
        rows = collection.count_rows()
        places = np.linspace(0, rows - 1, min(rows, SAMPLED_TEXTS)).astype(np.int64)
        try:
            report = measure_int8(
                model, texts_at(collection, places.tolist()), models_dir=models_dir
            )
        except WorkerError as error:
            logger.warning("the loss of int8 was not measured: %s", error)
            return ("int8: what it loses against fp32 was not measured",)
    if report is None:
        return ("int8: too few texts to measure what it loses against fp32",)
    speed = report.texts_per_second / report.usual_texts_per_second
    return (
        f"int8: recall@10 against fp32 is {report.recall_at_10:.3f}, the mean cosine "
        f"{report.mean_cosine:.3f} ({report.texts} {whose}); {speed:.1f} times as fast as "
        f"{report.usual_precision}",
    )
