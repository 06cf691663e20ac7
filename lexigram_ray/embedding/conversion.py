"""torch to OpenVINO, and floats to int8: once a model, checked against what it was, kept."""

from __future__ import annotations

import errno
import logging
import shutil
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lexigram_ray.core.errors import ConfigError, EmbeddingError, ModelNotFoundError
from lexigram_ray.embedding import model_store
from lexigram_ray.embedding.attention import masks_padding_only
from lexigram_ray.embedding.fingerprint import fingerprint
from lexigram_ray.embedding.inference import Backend, vector_of, vectors_of
from lexigram_ray.embedding.locks import exclusive_lock
from lexigram_ray.embedding.models import LocalModel
from lexigram_ray.embedding.openvino_engine import OpenVinoBackend, is_lack_of_memory
from lexigram_ray.embedding.openvino_import import import_openvino
from lexigram_ray.embedding.quantization import INT8, in_floats, quantise
from lexigram_ray.embedding.tokenizing import TextEncoder, load_tokenizer

if TYPE_CHECKING:
    import openvino

    from lexigram_ray.embedding.torch_engine import TorchBackend

MIN_COSINE = 0.999
# Good models keep 0.98 on each text; one that loses so much finds other neighbours.
MIN_COSINE_INT8 = 0.9
# Short and long, plain and odd, so that batches have padding and no branch of a trace is missed.
CANARIES = (
    "",
    "water",
    "How do I undo the last commit?",
    "The committee met on Tuesday and put the question off until the budget was known.",
    "def parse(line: str) -> dict[str, int]:\n    return {k: int(v) for k, v in pairs(line)}",
    "Größe, naïveté, Ελληνικά, 東京都, Москва, 😀 — and a | table | of | cells |",
    "A licence grants rights; a warranty promises quality. This one does the first only. " * 40,
)

PADDING_ONLY, SUMMED = "padding_only", "summed"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedModel:
    """A model for OpenVINO, from disk or, where the disk would not take it, in memory.

    Attributes:
        padding_only: See `attention.masks_padding_only`.
        summed: See `OpenVinoBackend`.
    """

    model: Path | openvino.Model
    tokenizer_file: Path
    padding_only: bool
    summed: bool


def converted(model: LocalModel, *, models_dir: Path, threads: int) -> ConvertedModel | None:
    """Return the model for OpenVINO, converting it at the first use on this machine.

    Processes that come at once wait for the first one's conversion. torch and transformers are
    imported for a conversion only.

    Returns:
        None where OpenVINO's vectors are not torch's, or it does not support the model: torch
        must run it.

    Raises:
        ModelNotFoundError: It has to be converted, and torch or transformers is not installed.
        ConfigError: It is to be int8, and that cannot be had.
        EmbeddingError: Making it int8 failed.
    """
    target = models_dir / fingerprint(model.spec)
    kept = model_store.read_kept(target)
    if kept is None or not _is_current(kept):
        try:
            kept = _convert_and_keep(model, target, threads)
        except OSError as error:
            if model.spec.precision == INT8:
                raise _no_int8(model, f"it cannot be kept in {models_dir}: {error}") from error
            logger.warning("converted model cannot be kept in %s: %s", models_dir, error)
            return _convert_in_memory(model, threads)
    if kept.backend == "openvino":
        return ConvertedModel(
            model=kept.folder / model_store.MODEL,
            tokenizer_file=kept.folder / model_store.TOKENIZER,
            padding_only=kept.facts.get(PADDING_ONLY) is True,
            summed=kept.facts.get(SUMMED) is True,
        )
    if model.spec.precision == INT8:
        raise _no_int8(model, str(kept.facts.get("reason")))
    return None


def converted_floats(model: LocalModel, *, models_dir: Path, threads: int) -> ConvertedModel:
    """Return the converted model that an int8 model is made of.

    Raises:
        ModelNotFoundError: It has to be converted, and torch or transformers is not installed.
        ConfigError: Only torch can run it.
    """
    floats = in_floats(model.uncut, "fp32")
    found = converted(floats, models_dir=models_dir, threads=threads)
    if found is None:
        raise _no_int8(model, "OpenVINO does not run it")
    return found


def _is_current(kept: model_store.KeptModel) -> bool:
    # What this OpenVINO could not convert, another one may.
    return kept.backend == "openvino" or kept.facts.get("openvino") == metadata.version("openvino")


def _convert_and_keep(model: LocalModel, target: Path, threads: int) -> model_store.KeptModel:
    target.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(target.parent / f".{target.name}.lock"):
        kept = model_store.read_kept(target)
        if kept is not None and _is_current(kept):
            return kept
        model_store.remove_remains(target)
        shutil.rmtree(target, ignore_errors=True)
        _check_space(model, target.parent)
        facts: dict[str, object] = {
            "spec": asdict(model.spec),
            "openvino": metadata.version("openvino"),
        }
        with model_store.new_folder(target, facts) as folder:
            if model.spec.precision == INT8:
                facts.update(_quantise_into(folder, model, target.parent, threads))
            else:
                facts.update(_convert_into(folder, model, threads))
    kept = model_store.read_kept(target)
    if kept is None:
        raise OSError(errno.EIO, "the converted model was not written whole", str(target))
    return kept


def _convert_into(folder: Path, model: LocalModel, threads: int) -> dict[str, object]:
    """Fill `folder`; return the backend that will run the model, and why."""
    openvino = import_openvino()
    reference = _torch_backend(model, threads)
    try:
        path = folder / model_store.MODEL
        openvino.save_model(reference.traced(), path, compress_to_fp16=False)
        padding_only = masks_padding_only(openvino.Core().read_model(path), model.spec.max_tokens)
        cosine, summed = _best_agreement(model, path, reference, threads, padding_only)
    except OSError:
        raise
    except Exception as error:
        if is_lack_of_memory(error):
            raise _no_memory(model) from error
        return _torch_stays(folder, model, f"{type(error).__name__}: {error}"[:500])
    if cosine < MIN_COSINE:
        return _torch_stays(folder, model, f"cosine to torch is {cosine:.5f}")
    shutil.copyfile(model.tokenizer_file, folder / model_store.TOKENIZER)
    logger.info("model %s converted to OpenVINO, cosine %.6f", model.spec.name, cosine)
    return {"backend": "openvino", "cosine": cosine, PADDING_ONLY: padding_only, SUMMED: summed}


def _quantise_into(
    folder: Path, model: LocalModel, models_dir: Path, threads: int
) -> dict[str, object]:
    source = converted_floats(model, models_dir=models_dir, threads=threads)
    if not isinstance(source.model, Path):
        raise OSError(errno.EIO, "nor can the model that it is made of", str(models_dir))
    logger.info("model %s is made int8, once: it takes a minute or so", model.spec.name)
    path = folder / model_store.MODEL
    facts = quantise(model, source.model, path)
    floats = OpenVinoBackend(source.model, precision="fp32", threads=threads)
    cosine = _agreement(model, path, floats, threads, padding_only=source.padding_only)
    if cosine < MIN_COSINE_INT8:
        _empty(folder)
        return {**facts, "backend": "none", "reason": f"its cosine to fp32 is only {cosine:.3f}"}
    shutil.copyfile(source.tokenizer_file, folder / model_store.TOKENIZER)
    logger.info("model %s made int8, cosine %.4f", model.spec.name, cosine)
    facts[PADDING_ONLY] = source.padding_only
    return {**facts, "backend": "openvino", "cosine": cosine}


def _no_int8(model: LocalModel, reason: str) -> ConfigError:
    return ConfigError(
        f"model {model.spec.name} cannot be had in int8: {reason}", hint="leave --precision out"
    )


def _no_memory(model: LocalModel) -> EmbeddingError:
    # It passes: kept as a reason, it would leave this machine with torch for ever.
    return EmbeddingError(
        f"model {model.spec.name} could not be converted: this machine's memory ran out",
        hint="end other programs and run the same command again",
    )


def _torch_stays(folder: Path, model: LocalModel, reason: str) -> dict[str, object]:
    logger.warning("model %s stays on torch: %s", model.spec.name, reason)
    _empty(folder)
    return {"backend": "torch", "reason": reason}


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _convert_in_memory(model: LocalModel, threads: int) -> ConvertedModel | None:
    reference = _torch_backend(model, threads)
    try:
        traced = reference.traced()
        padding_only = masks_padding_only(traced, model.spec.max_tokens)
        cosine, summed = _best_agreement(model, traced, reference, threads, padding_only)
    except Exception as error:  # noqa: BLE001 - whatever it is, torch runs the model; it is logged
        logger.warning("model %s stays on torch: %s", model.spec.name, error)
        return None
    if cosine < MIN_COSINE:
        logger.warning("model %s stays on torch: cosine %.5f", model.spec.name, cosine)
        return None
    return ConvertedModel(
        model=traced,
        tokenizer_file=model.tokenizer_file,
        padding_only=padding_only,
        summed=summed,
    )


def _torch_backend(model: LocalModel, threads: int) -> TorchBackend:
    try:
        from lexigram_ray.embedding.torch_engine import TorchBackend

        return TorchBackend(model.folder, precision="fp32", threads=threads)
    except ImportError as error:
        raise ModelNotFoundError(
            f"model {model.spec.name} must be converted once, and {error.name} is not installed",
            hint="`pip install torch transformers`, or copy `models/` from a machine that has it",
        ) from error


def _best_agreement(
    model: LocalModel,
    converted_to: Path | openvino.Model,
    reference: Backend,
    threads: int,
    padding_only: bool,
) -> tuple[float, bool]:
    """Return the cosine to torch, and whether the model sums up its tokens itself."""
    if padding_only and model.spec.precision == "bf16" and model.spec.pooling == "mean":
        try:
            cosine = _agreement(
                model, converted_to, reference, threads, padding_only=True, summed=True
            )
        except (EmbeddingError, RuntimeError) as error:
            if is_lack_of_memory(error):
                raise
            logger.info("model %s sums in fp32: %s", model.spec.name, error)
        else:
            if cosine >= MIN_COSINE:
                return cosine, True
            logger.info("model %s sums in fp32: cosine %.5f", model.spec.name, cosine)
    return _agreement(model, converted_to, reference, threads, padding_only=padding_only), False


def _agreement(
    model: LocalModel,
    converted_to: Path | openvino.Model,
    reference: Backend,
    threads: int,
    *,
    padding_only: bool,
    summed: bool = False,
) -> float:
    candidate = OpenVinoBackend(
        converted_to,
        precision=model.spec.precision,
        threads=threads,
        padding_only=padding_only,
        summed=summed,
    )
    encoder = TextEncoder(load_tokenizer(model), model.spec.max_tokens)
    ours, theirs = (
        vectors_of(
            CANARIES,
            backend=backend,
            encoder=encoder,
            dimension=model.spec.dimension,
            pooling=model.spec.pooling,
        )
        for backend in (candidate, reference)
    )
    cosine = np.einsum("ij,ij->i", ours, theirs).min()
    longest = int(np.argmax([len(text) for text in CANARIES]))
    alone = vector_of(
        CANARIES[longest],
        backend=candidate,
        encoder=encoder,
        dimension=model.spec.dimension,
        pooling=model.spec.pooling,
    )
    cosine = min(cosine, alone @ theirs[longest])
    if not np.isfinite(cosine):
        raise EmbeddingError("a canary text's vector is not finite")
    return float(cosine)


def _check_space(model: LocalModel, parent: Path) -> None:
    # OpenVINO does not say so when it could not write its file to the end.
    needed = sum(path.stat().st_size for path in model.folder.iterdir() if path.is_file())
    free = shutil.disk_usage(parent).free
    if free < needed + (needed >> 2):
        raise OSError(errno.ENOSPC, f"{free >> 20} MB are free, {needed >> 20} needed", str(parent))
