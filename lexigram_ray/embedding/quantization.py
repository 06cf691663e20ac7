"""int8: which model of whole numbers is meant, whether it can be had here, and how it is made."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lexigram_ray.core.errors import ConfigError, EmbeddingError
from lexigram_ray.embedding import devices, model_store
from lexigram_ray.embedding.calibration_texts import GENERIC
from lexigram_ray.embedding.fingerprint import fingerprint
from lexigram_ray.embedding.tokenizing import TextEncoder, load_tokenizer

if TYPE_CHECKING:
    from lexigram_ray.embedding.models import LocalModel

INT8 = "int8"
INSTALL = "`pip install 'lexigram-ray[int8]'`"
# Vectors of MiniLM are the same to three digits with 64 texts and with 300, which take 5 times as
# long; longer texts do not change them either.
CALIBRATION_TEXTS = 64
CALIBRATION_TOKENS = 512
# Raised when int8 models are made in another way: their vectors differ.
METHOD = 2
# Passages joined, so that the positions of long texts are seen too.
JOINED = 4

# -P: an `nncf.py` in the working directory must not be imported.
CHILD_COMMAND = (sys.executable, "-P", "-m", "lexigram_ray.embedding.quantization_child")
_STDERR_TAIL = 500
_MARK = "-int8-"


def in_int8(model: LocalModel, calibration: Iterable[str] = ()) -> LocalModel:
    """Return the int8 model that is made of `model` with these texts.

    Other texts make other vectors, and so does another way of making it: a hash of both becomes
    part of the model's revision, and collections, caches and kept models of another stay apart.

    Args:
        model: In any precision.
        calibration: The user's own texts, of which 64 are used, from all over; generic English
            passages take the place of those that are missing.
    """
    texts = tuple(_spread(list(dict.fromkeys(calibration)), CALIBRATION_TEXTS))
    revision = f"{_float_revision(model)}{_MARK}{_version(_completed(texts))}"
    return replace(
        model, spec=replace(model.spec, precision=INT8, revision=revision), calibration=texts
    )


def in_floats(model: LocalModel, precision: str) -> LocalModel:
    """Return the model of floats that an int8 model is made of, in `precision`."""
    revision = _float_revision(model)
    return replace(
        model, spec=replace(model.spec, precision=precision, revision=revision), calibration=()
    )


def check_available(model: LocalModel, *, models_dir: Path) -> None:
    """Refuse what would fail only when the first texts are embedded.

    Raises:
        ConfigError: Models run on a GPU here, or what int8 needs is not installed.
    """
    if devices.computes_on_gpu():
        raise ConfigError(
            "int8 is for CPUs, and models run on this machine's GPU",
            hint="leave --precision out (or hide the GPU: CUDA_VISIBLE_DEVICES=)",
        )
    if importlib.util.find_spec("openvino") is None:
        raise ConfigError(
            "int8 needs OpenVINO, which is not installed",
            hint="`pip install openvino`, or leave --precision out",
        )
    kept = model_store.read_kept(models_dir / fingerprint(model.uncut.spec))
    if kept is None and importlib.util.find_spec("nncf") is None:
        raise _nncf_missing(model)


def quantise(model: LocalModel, source: Path, target: Path) -> dict[str, object]:
    """Make the int8 model of a converted one.

    A process of its own does it: nncf changes how Python logs, draws on standard output, and
    reports to a web service.

    Args:
        model: In int8.
        source: The converted model's .xml file, in floats.
        target: The .xml file to write, with a .bin file beside it.

    Returns:
        What to record: the version of nncf, and how many texts.

    Raises:
        ConfigError: nncf is not installed.
        EmbeddingError: It failed.
    """
    if importlib.util.find_spec("nncf") is None:
        raise _nncf_missing(model)
    tokens = _tokens(model)
    done = subprocess.run(
        [*CHILD_COMMAND, str(source), str(target)],
        input=json.dumps(tokens),
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0 or not target.exists():
        raise EmbeddingError(
            f"model {model.spec.name} cannot be made int8 (exit status {done.returncode}): "
            f"{done.stderr.strip()[-_STDERR_TAIL:]}",
            hint="leave --precision out",
        )
    return {"nncf": done.stdout.split()[-1], "calibration_texts": len(tokens)}


def _float_revision(model: LocalModel) -> str:
    return model.spec.revision.partition(_MARK)[0]


def _spread(texts: Sequence[str], count: int) -> Iterator[str]:
    """Yield `count` of the texts, in order, at equal distances."""
    for number in range(min(count, len(texts))):
        yield texts[number * len(texts) // min(count, len(texts))]


def _completed(texts: tuple[str, ...]) -> tuple[str, ...]:
    joined = ["\n\n".join(GENERIC[at : at + JOINED]) for at in range(len(GENERIC) - JOINED + 1)]
    generic = [*_spread(joined, CALIBRATION_TEXTS - len(GENERIC)), *GENERIC]
    return (*texts, *generic)[:CALIBRATION_TEXTS]


def _version(texts: Sequence[str]) -> str:
    described = json.dumps([METHOD, CALIBRATION_TOKENS, *texts])
    return hashlib.sha256(described.encode()).hexdigest()[:12]


def _tokens(model: LocalModel) -> list[list[int]]:
    prompt = model.spec.document_prompt
    limit = min(model.spec.max_tokens, CALIBRATION_TOKENS)
    encoder = TextEncoder(load_tokenizer(model), limit)
    encoded = encoder.encode([prompt + text for text in _completed(model.calibration)])
    return [ids.tolist() for row, ids in enumerate(encoded.ids) if row not in encoded.refused]


def _nncf_missing(model: LocalModel) -> ConfigError:
    return ConfigError(
        f"model {model.spec.name} must be made int8 once, and nncf is not installed",
        hint=f"{INSTALL}, or leave --precision out",
    )
