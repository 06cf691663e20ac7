"""From a model's name to everything that its use needs to know, without loading it."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from lexigram_ray.core.errors import ConfigError, ModelNotFoundError
from lexigram_ray.core.types import DEFAULT_MODEL, ModelSpec
from lexigram_ray.embedding import devices, model_sources, quantization
from lexigram_ray.embedding.model_files import ModelFiles, inspect_folder
from lexigram_ray.embedding.model_settings import ModelSettings, read_settings
from lexigram_ray.embedding.revision import revision_of

DEFAULT_ORGANISATION = "sentence-transformers"
NAMES_OF_DEFAULT = frozenset({DEFAULT_MODEL.lower(), "all-minilm-l6-v2"})
# The reference's default: a server's model. With no server configured it means the local one.
SERVER_MODEL = "text-embedding-ada-002"
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A model whose files are on this machine.

    Attributes:
        spec: Everything that changes its vectors.
        folder: Where config.json and the weights are.
        tokenizer_file: tokenizer.json.
        lower_case: Whether texts are lower-cased before the tokenizer sees them.
        width: Numbers of the model's own vectors, of which `spec.dimension` are kept; 0 where all
            are.
        calibration: In int8, the user's own texts on which it is tried; see `quantization.in_int8`.
    """

    spec: ModelSpec
    folder: Path
    tokenizer_file: Path
    lower_case: bool = False
    width: int = 0
    calibration: tuple[str, ...] = ()

    @property
    def uncut(self) -> LocalModel:
        """The same model with its whole vectors: what is converted, and measured, once for all."""
        if self.width in (0, self.spec.dimension):
            return self
        return replace(self, spec=replace(self.spec, dimension=self.width))


def describe_model(
    name: str, *, precision: str, models_dir: Path, dimensions: int | None = None
) -> LocalModel:
    """Find a model, fetching it where it is not here yet, and read how it is to be used.

    Args:
        name: A folder's path, a name on the Hugging Face Hub, or a short form of the default.
        precision: `fp32`, `bf16`, `fp16`, `int8`, or `auto`: the half precision that this machine
            computes in, if any.
        models_dir: Where the hashes of weights are remembered.
        dimensions: Numbers of a vector that are kept, for models trained for that (Matryoshka); as
            the model's own settings say unless given.

    Raises:
        ModelNotFoundError: It is neither here nor to be had; within seconds, with no network too.
        ConfigError: It needs what this engine does not compute, `precision` is unknown or cannot
            be had here, or its vectors are shorter than `dimensions`.
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
        dimension=_kept_dimensions(settings, dimensions, name),
        max_tokens=settings.max_tokens,
        pooling=settings.pooling,
        precision=_resolve_precision(precision),
        normalize=settings.normalize,
        query_prompt=settings.query_prompt,
        document_prompt=settings.document_prompt,
    )
    model = LocalModel(
        spec=spec,
        folder=files.transformer,
        tokenizer_file=files.tokenizer,
        lower_case=settings.lower_case,
        width=settings.dimension,
    )
    if precision == quantization.INT8:
        model = quantization.in_int8(model)
        quantization.check_available(model, models_dir=models_dir)
    return model


def folder_at_hand(name: str) -> Path | None:
    """Return the folder of a model that is on this machine; None where it had to be fetched.

    Raises:
        ModelNotFoundError: It is plainly a path, and there is no model.
    """
    found = _at_hand(name)
    return found[1].root if found is not None else None


def _find(name: str) -> tuple[str, ModelFiles]:
    if name == SERVER_MODEL and model_sources.given_folder(name) is None:
        _say_what_the_server_model_means()
    return _at_hand(name) or _downloaded(_named(name))


def _at_hand(name: str) -> tuple[str, ModelFiles] | None:
    folder = model_sources.given_folder(name)
    if folder is not None:
        return str(folder), inspect_folder(folder, str(folder))
    name = _named(name)
    if name == DEFAULT_MODEL:
        packaged = model_sources.packaged_folder()
        if packaged is not None:
            return DEFAULT_MODEL, inspect_folder(packaged, DEFAULT_MODEL)
    for candidate in _full_names(name):
        cached = model_sources.cached_folder(candidate)
        if cached is not None and _is_complete(cached, candidate):
            return candidate, inspect_folder(cached, candidate)
    return None


def _named(name: str) -> str:
    is_default = name == SERVER_MODEL or name.lower() in NAMES_OF_DEFAULT
    return DEFAULT_MODEL if is_default else name


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


def _kept_dimensions(settings: ModelSettings, dimensions: int | None, name: str) -> int:
    if dimensions is None:
        return settings.kept_dimension
    if not 1 <= dimensions <= settings.dimension:
        raise ConfigError(
            f"model {name} has vectors of {settings.dimension} numbers, and {dimensions} are asked",
            hint=f"`dimensions` between 1 and {settings.dimension}",
        )
    return dimensions


def _resolve_precision(precision: str) -> str:
    if precision == "bf16" and devices.cpu_lacks_bf16() and not devices.computes_on_gpu():
        _say_what_emulation_costs()
    if precision != "auto":
        return precision
    if devices.computes_on_gpu():
        return devices.half_precision(devices.gpu_capability())
    return "bf16" if devices.cpu_has_bf16() else "fp32"


@functools.cache
def _say_what_emulation_costs() -> None:
    logger.warning(
        "--precision bf16 on a CPU that does not multiply bf16 (%s): it is emulated, and may take"
        " a hundred times as long; new collections are better made without the option",
        devices.cpu_name(),
    )


@functools.cache
def _say_what_the_server_model_means() -> None:
    logger.warning(
        "%s is a server's model and no server is configured: using the local %s",
        SERVER_MODEL,
        DEFAULT_MODEL,
    )
