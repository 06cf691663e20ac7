"""What a job runs with: what its submitter asked, over the configuration of this process."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.types import DEFAULT_MODEL
from lexigram_ray.workers.batch_embedding.types import DEFAULT_BATCH_SIZE, DEFAULT_MODEL_NAME

__all__ = ["embedding_settings"]

logger = logging.getLogger("lexigram_ray")


def embedding_settings(
    config: WorkersConfig, *, model_name: str | None, batch_size: int, use_cache: bool
) -> WorkersConfig:
    """Return the configuration that a job runs with: what its submitter asked over this process's.

    Args:
        model_name: None, and the reference's default where no server is configured, mean the
            configured model.
        batch_size: Most texts in one call of the model, or in one request to a server.
        use_cache: Whether known vectors are taken, and new ones kept.
    """
    embedding = config.embedding
    changed: dict[str, Any] = {"cache": embedding.cache and use_cache}
    server = embedding.server
    name = _asked_model(config, model_name)
    if name is not None:
        changed["model"] = name
    if server.url is not None:
        fewer = min(server.batch_texts, batch_size)
        changed["server"] = server.model_copy(update={"batch_texts": fewer})
    elif batch_size != DEFAULT_BATCH_SIZE:
        # Else a model of this machine cuts its batches by tokens, which are smaller still.
        changed["batch_texts"] = batch_size
    return config.model_copy(update={"embedding": embedding.model_copy(update=changed)})


def _asked_model(config: WorkersConfig, model_name: str | None) -> str | None:
    if model_name is None:
        return None
    if model_name != DEFAULT_MODEL_NAME:
        return model_name
    # A server that has it is asked for it, unless the settings name another model of that server.
    if config.embedding.server.url is not None and config.embedding.model == DEFAULT_MODEL:
        return model_name
    _say_once(config.embedding.model)
    return None


@cache
def _say_once(model: str) -> None:
    logger.info("no server has %s: it means the configured model, %s", DEFAULT_MODEL_NAME, model)
