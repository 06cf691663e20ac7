"""The engine: one provider of vectors, whichever backend runs the model."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import ConfigError, EmbeddingError
from lexigram_ray.core.protocols import EmbeddingProvider
from lexigram_ray.core.types import ModelSpec
from lexigram_ray.embedding import devices
from lexigram_ray.embedding.batching import distinct
from lexigram_ray.embedding.inference import Backend, vector_of, vectors_of
from lexigram_ray.embedding.models import LocalModel
from lexigram_ray.embedding.tokenizing import TextEncoder, load_tokenizer

logger = logging.getLogger(__name__)

BackendName = Literal["auto", "openvino", "torch"]


def load_provider(
    model: LocalModel,
    *,
    models_dir: Path,
    threads: int | None = None,
    backend: BackendName = "auto",
) -> LocalProvider:
    """Load a model: on the GPU by torch, else on the CPU by OpenVINO, else by torch.

    Args:
        model: From `describe_model`.
        models_dir: Where converted models are kept.
        threads: CPU cores to compute on; all that this process may use unless given.
        backend: Only for tests and comparisons.

    Raises:
        ConfigError: The model's files are damaged, or neither backend is installed.
        ModelNotFoundError: It must be converted first, and torch is not installed.
        EmbeddingError: The backend cannot load it.
    """
    threads = threads or devices.available_cpus()
    if backend == "auto":
        backend = _choose()
    if backend == "openvino":
        from lexigram_ray.embedding.conversion import converted
        from lexigram_ray.embedding.openvino_engine import OpenVinoBackend

        found = converted(model, models_dir=models_dir, threads=threads)
        if found is not None:
            running = OpenVinoBackend(found.model, precision=model.spec.precision, threads=threads)
            return LocalProvider(replace(model, tokenizer_file=found.tokenizer_file), running)
    from lexigram_ray.embedding.torch_engine import TorchBackend

    running = TorchBackend(model.folder, precision=model.spec.precision, threads=threads)
    return LocalProvider(model, running)


def _choose() -> BackendName:
    installed = {name for name in ("openvino", "torch") if importlib.util.find_spec(name)}
    if "torch" in installed and (devices.has_nvidia_gpu() or "openvino" not in installed):
        return "torch"
    if "openvino" in installed:
        return "openvino"
    raise ConfigError(
        "neither OpenVINO nor torch is installed", hint="`pip install openvino`, or `torch`"
    )


class LocalProvider(EmbeddingProvider):
    """Vectors from a model that runs in this process. Safe to use from several threads."""

    def __init__(self, model: LocalModel, backend: Backend) -> None:
        self._spec = model.spec
        self._backend = backend
        self._encoder = TextEncoder(load_tokenizer(model), model.spec.max_tokens)

    @property
    def spec(self) -> ModelSpec:
        """The model whose vectors these are."""
        return self._spec

    @property
    def truncated_texts(self) -> int:
        """How many distinct texts were longer than the model's limit, and cut there, so far."""
        return self._encoder.truncated_texts

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed documents, in order; equal texts are computed once.

        Returns:
            float32, shape `(len(texts), spec.dimension)`, rows L2-normalised, never NaN.

        Raises:
            EmbeddingError: The model failed, or a text has no finite vector: the message names
                its position.
        """
        once, inverse = distinct(texts)
        prompt = self._spec.document_prompt
        cut_before = self._encoder.truncated_texts
        vectors = vectors_of(
            [prompt + text for text in once] if prompt else once,
            backend=self._backend,
            encoder=self._encoder,
            dimension=self._spec.dimension,
            pooling=self._spec.pooling,
        )
        self._check(vectors, inverse)
        cut = self._encoder.truncated_texts - cut_before
        if cut:
            logger.warning(
                "%d texts are longer than the %d tokens that %s reads: their ends have no vector",
                cut,
                self._spec.max_tokens,
                self._spec.name,
            )
        return vectors if len(once) == len(texts) else vectors[inverse]

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Embed one query, with the model's query prompt: float32, shape `(spec.dimension,)`.

        Raises:
            EmbeddingError: The model failed, or its vector is not finite.
        """
        vector = vector_of(
            self._spec.query_prompt + text,
            backend=self._backend,
            encoder=self._encoder,
            pooling=self._spec.pooling,
        )
        self._check(vector[None, :], np.zeros(1, np.int64))
        return vector

    def _check(self, vectors: NDArray[np.float32], inverse: NDArray[np.int64]) -> None:
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(bad):
            position = int(np.flatnonzero(np.isin(inverse, bad))[0])
            raise EmbeddingError(
                f"model {self._spec.name} gave a vector that is not finite for text {position}"
                f" of {len(inverse)}",
                hint="try --precision fp32",
            )
