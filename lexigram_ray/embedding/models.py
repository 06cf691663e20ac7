"""From a model's name to everything that its use needs to know, without loading it."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from pathlib import Path

from lexigram_ray.core.errors import ConfigError, ModelNotFoundError
from lexigram_ray.core.types import DEFAULT_MODEL, ModelSpec
from lexigram_ray.embedding import devices, model_sources
from lexigram_ray.embedding.model_files import ModelFiles, inspect_folder
from lexigram_ray.embedding.model_settings import read_settings
from lexigram_ray.embedding.revision import revision_of

DEFAULT_ORGANISATION = "sentence-transformers"
NAMES_OF_DEFAULT = frozenset({DEFAULT_MODEL.lower(), "all-minilm-l6-v2"})
# The reference's default: a server's model. With no server configured it means the local one.
SERVER_MODEL = "text-embedding-ada-002"
PRECISIONS = ("auto", "fp32", "bf16")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A model whose files are on this machine.

    Attributes:
        spec: Everything that changes its vectors.
        folder: Where config.json and the weights are.
        tokenizer_file: tokenizer.json.
        lower_case: Whether texts are lower-cased before the tokenizer sees them.
    """

    spec: ModelSpec
    folder: Path
    tokenizer_file: Path
    lower_case: bool = False


def describe_model(name: str, *, precision: str, models_dir: Path) -> LocalModel:
    """Find a model, fetching it where it is not here yet, and read how it is to be used.

    Args:
        name: A folder's path, a name on the Hugging Face Hub, or a short form of the default.
        precision: `fp32`, `bf16`, or `auto`: bf16 where this machine computes in it.
        models_dir: Where the hashes of weights are remembered.

    Raises:
        ModelNotFoundError: It is neither here nor to be had; within seconds, with no network too.
        ConfigError: It needs what this engine does not compute, or `precision` is unknown.
    """
    if precision not in PRECISIONS:
        raise ConfigError(
            f"unknown precision {precision!r}", hint=f"one of {', '.join(PRECISIONS)}"
        )
    name, files = _find(name)
    settings = read_settings(files, name)
    try:
        revision = revision_of(
            [*files.weights, *files.settings, files.tokenizer], files.root, models_dir=models_dir
        )
    except OSError as error:
        raise ModelNotFoundError(f"model {name} cannot be read: {error}") from error
    spec = ModelSpec(
        name=name,
        revision=revision,
        dimension=settings.dimension,
        max_tokens=settings.max_tokens,
        pooling=settings.pooling,
        precision=_resolve_precision(precision),
        normalize=settings.normalize,
        query_prompt=settings.query_prompt,
        document_prompt=settings.document_prompt,
    )
    return LocalModel(
        spec=spec,
        folder=files.transformer,
        tokenizer_file=files.tokenizer,
        lower_case=settings.lower_case,
    )


def _find(name: str) -> tuple[str, ModelFiles]:
    folder = model_sources.given_folder(name)
    if folder is not None:
        return str(folder), inspect_folder(folder, str(folder))
    if name == SERVER_MODEL:
        _say_what_the_server_model_means()
        name = DEFAULT_MODEL
    if name.lower() in NAMES_OF_DEFAULT:
        packaged = model_sources.packaged_folder()
        if packaged is not None:
            return DEFAULT_MODEL, inspect_folder(packaged, DEFAULT_MODEL)
        name = DEFAULT_MODEL
    for candidate in _full_names(name):
        cached = model_sources.cached_folder(candidate)
        if cached is not None and _is_complete(cached, candidate):
            return candidate, inspect_folder(cached, candidate)
    return _downloaded(name)


def _full_names(name: str) -> tuple[str, ...]:
    # As in sentence-transformers: a name without an organisation is first one of theirs.
    return (name,) if "/" in name else (f"{DEFAULT_ORGANISATION}/{name}", name)


def _is_complete(folder: Path, name: str) -> bool:
    try:
        inspect_folder(folder, name)
    except ModelNotFoundError as error:  # an interrupted download; a new one completes it
        logger.debug("passed over %s: %s", folder, error)
        return False
    return True


def _downloaded(name: str) -> tuple[str, ModelFiles]:
    *first, last = _full_names(name)
    for candidate in first:
        try:
            return candidate, inspect_folder(model_sources.download(candidate), candidate)
        except model_sources.UnknownModelError as error:
            logger.debug("%s", error)
    return last, inspect_folder(model_sources.download(last), last)


def _resolve_precision(precision: str) -> str:
    if precision != "auto":
        return precision
    return "bf16" if devices.cpu_has_bf16() or devices.has_nvidia_gpu() else "fp32"


@functools.cache
def _say_what_the_server_model_means() -> None:
    logger.warning(
        "%s is a server's model and no server is configured: using the local %s",
        SERVER_MODEL,
        DEFAULT_MODEL,
    )
