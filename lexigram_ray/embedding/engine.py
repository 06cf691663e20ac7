"""The engine: one provider of vectors, whichever backend runs the model."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import ConfigError, EmbeddingError, TextsRefusedError
from lexigram_ray.core.protocols import CountedVectors, CountingProvider
from lexigram_ray.core.types import ModelSpec
from lexigram_ray.embedding import devices
from lexigram_ray.embedding.backend import Backend
from lexigram_ray.embedding.batching import distinct
from lexigram_ray.embedding.budget_probe import remembered_budget
from lexigram_ray.embedding.encoding import EncodedTexts
from lexigram_ray.embedding.fingerprint import fingerprint
from lexigram_ray.embedding.inference import Inferred, infer, infer_one, vector_of
from lexigram_ray.embedding.models import LocalModel
from lexigram_ray.embedding.token_budget import TokenBudget
from lexigram_ray.embedding.tokenizing import LongTexts, TextEncoder, load_tokenizer

logger = logging.getLogger(__name__)

BackendName = Literal["auto", "openvino", "torch"]

# From so many texts on, finding the best token budget is worth most of a second, once.
BULK_TEXTS = 512
# Seconds of work: fewer texts go in between, so that nobody waits long for a few.
TEXTS_IN_TURN = 128
NOT_FINITE = "the model gave it a vector that is not finite (try --precision fp32)"


def load_provider(
    model: LocalModel,
    *,
    models_dir: Path,
    threads: int | None = None,
    backend: BackendName = "auto",
    long_texts: LongTexts = "truncate",
) -> LocalProvider:
    """Load a model: on the GPU by torch, else on the CPU by OpenVINO, else by torch.

    Args:
        model: From `describe_model`.
        models_dir: Where converted models are kept.
        threads: CPU cores to compute on; all that this process may use unless given.
        backend: Only for tests and comparisons.
        long_texts: Whether a document beyond the model's limit is cut there or refused.

    Raises:
        ConfigError: The model's files are damaged, or neither backend is installed.
        ModelNotFoundError: It must be converted first, and torch is not installed.
        EmbeddingError: It cannot be converted, or torch cannot load it. What OpenVINO cannot load
            is said at the first use.
    """
    threads = threads or devices.available_cpus()
    if backend == "auto":
        backend = _choose()
    if backend == "openvino":
        from lexigram_ray.embedding.conversion import converted
        from lexigram_ray.embedding.openvino_engine import OpenVinoBackend

        found = converted(model.uncut, models_dir=models_dir, threads=threads)
        if found is not None:
            running = OpenVinoBackend(
                found.model,
                precision=model.spec.precision,
                threads=threads,
                padding_only=found.padding_only,
                summed=found.summed,
                keep_compiled=True,
            )
            model = replace(model, tokenizer_file=found.tokenizer_file)
            return LocalProvider(model, running, models_dir=models_dir, long_texts=long_texts)
    if model.spec.precision == "int8":
        raise ConfigError("int8 is for CPUs, by OpenVINO", hint="leave --precision out")
    from lexigram_ray.embedding.torch_engine import TorchBackend

    running = TorchBackend(model.folder, precision=model.spec.precision, threads=threads)
    return LocalProvider(model, running, models_dir=models_dir, long_texts=long_texts)


def _choose() -> BackendName:
    installed = {name for name in ("openvino", "torch") if importlib.util.find_spec(name)}
    if "torch" in installed and (devices.computes_on_gpu() or "openvino" not in installed):
        return "torch"
    if "openvino" in installed:
        return "openvino"
    raise ConfigError(
        "neither OpenVINO nor torch is installed", hint="`pip install openvino`, or `torch`"
    )


class LocalProvider(CountingProvider):
    """Vectors from a model that runs in this process. Safe to use from several threads."""

    def __init__(
        self,
        model: LocalModel,
        backend: Backend,
        *,
        models_dir: Path | None = None,
        long_texts: LongTexts = "truncate",
    ) -> None:
        """Take over a loaded model.

        Args:
            model: What `backend` runs.
            backend: The loaded model.
            models_dir: Where the best token budget is remembered; the default one is used unless
                given.
            long_texts: Whether a document beyond the model's limit is cut there or refused.
        """
        self._model = model
        self._spec = model.spec
        self._backend = backend
        self._models_dir = models_dir
        self._budget = TokenBudget(backend.token_budget)
        # One after the other, many texts are done no later, and those of the first much sooner.
        self._turn = threading.Lock()
        tokenizer = load_tokenizer(model)
        self._encoder = TextEncoder(tokenizer, model.spec.max_tokens, long_texts)
        self._query_encoder = TextEncoder(tokenizer, model.spec.max_tokens)

    @property
    def spec(self) -> ModelSpec:
        """The model whose vectors these are."""
        return self._spec

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed documents, in order; equal texts are computed once.

        Returns:
            float32, shape `(len(texts), spec.dimension)`, rows L2-normalised, never NaN.

        Raises:
            TextsRefusedError: Some texts have no vector: not valid Unicode, longer than the limit
                where that is not allowed, larger than the memory, or the model answered with NaN.
            EmbeddingError: The backend failed.
        """
        counted = self.embed_counted(texts)
        if counted.truncated:
            logger.warning(
                "%d texts are longer than the %d tokens that %s reads: their ends have no vector",
                counted.truncated,
                self._spec.max_tokens,
                self._spec.name,
            )
        return counted.vectors

    def embed_counted(self, texts: Sequence[str]) -> CountedVectors:
        """Embed documents as `embed_texts` does, and count those that were cut.

        Raises:
            TextsRefusedError: As in `embed_texts`; its `truncated` counts the others' cuts.
            EmbeddingError: The backend failed.
        """
        once, inverse = distinct(texts)
        if len(once) >= BULK_TEXTS:
            self._budget.settle(self._best_budget)
        prompt = self._spec.document_prompt
        inferred = infer(
            [prompt + text for text in once] if prompt else once,
            backend=self._backend,
            encoder=self._encoder,
            budget=self._budget,
            dimension=self._spec.dimension,
            pooling=self._spec.pooling,
            turn=self._turn if len(once) >= TEXTS_IN_TURN else None,
        )
        vectors = inferred.vectors if len(once) == len(texts) else inferred.vectors[inverse]
        truncated = int(inferred.truncated[inverse].sum())
        refused = _refused(inferred, inverse, vectors)
        if refused:
            raise TextsRefusedError(refused, vectors, truncated=truncated)
        return CountedVectors(vectors=vectors, truncated=truncated)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Embed one query, with the model's query prompt: float32, shape `(spec.dimension,)`.

        A query beyond the model's limit is cut there, whatever becomes of documents.

        Raises:
            EmbeddingError: It is not valid Unicode, the backend failed, or the vector is not
                finite.
        """
        vector = vector_of(
            self._spec.query_prompt + text,
            backend=self._backend,
            encoder=self._query_encoder,
            dimension=self._spec.dimension,
            pooling=self._spec.pooling,
        )
        if not np.isfinite(vector).all():
            raise EmbeddingError(
                f"model {self._spec.name} gave the query a vector that is not finite",
                hint="try --precision fp32",
            )
        return vector

    def encode(self, texts: Sequence[str], *, as_query: bool) -> EncodedTexts:
        """Embed documents or queries past every cache, and count their tokens.

        One text goes ahead of whatever else runs; equal texts are computed once.

        Raises:
            EmbeddingError: The backend failed.
        """
        encoder = self._query_encoder if as_query else self._encoder
        prompt = self._spec.query_prompt if as_query else self._spec.document_prompt
        once, inverse = distinct([prompt + text for text in texts] if prompt else texts)
        if len(once) == 1:
            inferred = infer_one(
                once[0],
                backend=self._backend,
                encoder=encoder,
                dimension=self._spec.dimension,
                pooling=self._spec.pooling,
            )
        else:
            inferred = infer(
                once,
                backend=self._backend,
                encoder=encoder,
                budget=self._budget,
                dimension=self._spec.dimension,
                pooling=self._spec.pooling,
            )
        vectors = inferred.vectors[inverse]
        refused = _refused(inferred, inverse, vectors)
        return EncodedTexts(vectors=vectors, tokens=inferred.tokens[inverse], refused=refused)

    def _best_budget(self) -> int:
        if self._models_dir is None:
            return self._backend.token_budget
        return remembered_budget(
            self._backend,
            self._query_encoder,
            model=fingerprint(self._model.uncut.spec),
            pooling=self._spec.pooling,
            models_dir=self._models_dir,
        )


def _refused(
    inferred: Inferred, inverse: NDArray[np.int64], vectors: NDArray[np.float32]
) -> dict[int, str]:
    """Return why given texts have no vector, by their positions, and put zeros there.

    Args:
        inferred: Of each text once.
        inverse: For every given text its place among them.
        vectors: Of every given text.
    """
    places = np.flatnonzero(~np.isfinite(vectors).all(axis=1)).tolist()
    vectors[places] = 0
    return {place: inferred.refused.get(int(inverse[place]), NOT_FINITE) for place in places}
