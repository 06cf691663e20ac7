"""The embedders of a replica: warm ones on the cluster's nodes, found again or started."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import (
    ClusterUnreachableError,
    EmbedderDiedError,
    EmbeddingError,
    WorkerError,
)
from lexigram_ray.core.types import ModelSpec
from lexigram_ray.embedding.encoding import EncodedTexts
from lexigram_ray.runtime.warm import WarmEmbedders
from lexigram_ray.service.batch_queue import BatchLimits
from lexigram_ray.service.batching import Batcher
from lexigram_ray.service.context import Embedders, ServedModel, TextVectors
from lexigram_ray.service.served_models import configured_model

CALL_SECONDS = 300.0
"""An embedder that takes longer for one call hangs, and is started anew."""

PREPARE_RETRIES = 2
MOST_OTHER_MODELS = 4
# Some of the engine's own batches at once, so that a call uses the whole device, and is short.
CALL_TOKENS = 8192
GPU_CALL_TOKENS = 65_536

logger = logging.getLogger("lexigram_ray.service")


class RayEmbedders(Embedders):
    """Vectors from warm embedders of the cluster that this process is attached to.

    Those of the configured model are started at once, in the background, and outlive this process:
    another replica finds them. Those of other models, of collections, end with this process.
    """

    def __init__(self, config: WorkersConfig) -> None:
        self._config = config
        self._own: Batcher | None = None
        self._others: OrderedDict[ModelSpec, Batcher] = OrderedDict()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="embedders")
        self._began = self._threads.submit(self._begin)
        self._threads.submit(self._warm_up)

    async def embed(
        self, model: ServedModel, texts: Sequence[str], *, as_query: bool
    ) -> TextVectors:
        """Embed texts, in order.

        Raises:
            Saturated: Too many texts wait already.
            TextsRefusedError: Some texts have no vector.
            EmbedderDiedError: Embedders died of these texts, or cannot be kept alive at all.
            WorkerError: The model failed, or cannot be loaded.
        """
        spec = model.recipe.model.spec
        # Where it makes no difference, queries and documents share calls.
        differ = spec.query_prompt != spec.document_prompt
        cuts = model.config.embedding.long_texts == "truncate"
        batcher = self._batcher_of(model, await self._begun())
        return await batcher.embed(texts, as_query=as_query and (differ or not cuts))

    async def close(self) -> None:
        """Fail what waits, and let go of the embedders."""
        for batcher in (self._own, *self._others.values()):
            if batcher is not None:
                await batcher.close()
        self._own = None
        self._others.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _begun(self) -> _Begun:
        if self._began.done():
            return self._began.result()
        # A client that goes while it waits for it must not end it.
        return await asyncio.shield(asyncio.wrap_future(self._began))

    def _begin(self) -> _Begun:
        on_gpus = False
        try:
            on_gpus = ray.cluster_resources().get("GPU", 0) >= 1
            return _Begun(configured_model(self._config), on_gpus)
        except (WorkerError, RayError) as error:
            # The first request meets it again, and tells whoever asks.
            logger.warning("the configured model cannot be used yet: %s", error)
            return _Begun(None, on_gpus)
        except Exception:
            # Remembered, it would fail every request until this replica is replaced.
            logger.exception("the configured model cannot be used yet")
            return _Begun(None, on_gpus)

    def _warm_up(self) -> None:
        model = self._began.result().model
        if model is None:
            return
        try:
            for handle in _warm(model, lasting=True).on_every_node():
                handle.prepare.remote()
        except (WorkerError, RayError) as error:
            logger.warning("no embedder can be started yet: %s", error)

    def _batcher_of(self, model: ServedModel, began: _Begun) -> Batcher:
        spec = model.recipe.model.spec
        own = began.model
        if model.config is self._config or (own is not None and own.recipe.model.spec == spec):
            if self._own is None:
                self._own = self._made(own or model, began, lasting=True)
            return self._own
        batcher = self._others.get(spec)
        if batcher is None:
            batcher = self._others[spec] = self._made(model, began, lasting=False)
            while len(self._others) > MOST_OTHER_MODELS:
                # What is under way there holds on to it until it ends.
                self._others.popitem(last=False)
        self._others.move_to_end(spec)
        return batcher

    def _made(self, model: ServedModel, began: _Begun, *, lasting: bool) -> Batcher:
        fleet = _Fleet(model, self._threads, lasting=lasting)
        return Batcher(fleet.find, limits=_limits(model, on_gpus=began.on_gpus))


@dataclass(frozen=True, slots=True)
class _Begun:
    """What was found at the start: the configured model, and whether the cluster has GPUs."""

    model: ServedModel | None
    on_gpus: bool


class _Fleet:
    """The warm embedders of a model, one a node."""

    def __init__(self, model: ServedModel, threads: ThreadPoolExecutor, *, lasting: bool) -> None:
        self._threads = threads
        self._warm = _warm(model, lasting=lasting)
        self._use = threading.Lock()
        self._places: list[_Embedder] = []

    async def find(self) -> Sequence[_Embedder]:
        """Return all, the same objects for those that are still there.

        Raises:
            WorkerError: They cannot be started.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._found)

    def _found(self) -> Sequence[_Embedder]:
        with self._use:
            for place in self._places:
                if place.is_gone:
                    self._warm.forget(place.handle)
            try:
                handles = self._warm.on_every_node()
            except RayError as error:
                raise ClusterUnreachableError(f"no embedder can be started: {error}") from error
            known = {id(place.handle): place for place in self._places}
            self._places = [known.get(id(handle)) or _Embedder(handle) for handle in handles]
            return list(self._places)


class _Embedder:
    """One warm embedder, as the batcher calls it: no call blocks the event loop."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.is_gone = False
        self._encode = handle.encode.options(name="embed:requests")
        # While it starts anew Ray keeps the call, and gives it up where it dies of loading.
        self._prepare = handle.prepare.options(max_task_retries=PREPARE_RETRIES)

    async def prepare(self) -> None:
        """Return once the model is loaded there."""
        await self._answer(self._prepare.remote(), "cannot load its model")

    async def encode(self, texts: Sequence[str], *, as_query: bool) -> EncodedTexts:
        """Embed texts in one call."""
        reference = self._encode.remote(texts, as_query=as_query)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return cast("EncodedTexts", await self._answer(reference, "does not answer"))
        except TimeoutError as error:
            ray.kill(self.handle, no_restart=False)
            raise EmbedderDiedError(
                f"the embedder has not answered for {CALL_SECONDS:.0f} s, and is started anew"
            ) from error

    async def _answer(self, reference: Awaitable[Any], fault: str) -> Any:
        try:
            return await reference
        except RayTaskError as error:
            if isinstance(error.cause, WorkerError):
                raise error.cause from None
            raise EmbeddingError(f"the embedder failed: {error.cause}") from error
        except ActorDiedError as error:
            self.is_gone = True
            raise EmbedderDiedError(f"the embedder is gone: {error}") from error
        except RayError as error:
            # Its death, out of memory, a lost node: no text's fault for certain.
            raise EmbedderDiedError(f"the embedder {fault}: {error}") from error


def _warm(model: ServedModel, *, lasting: bool) -> WarmEmbedders:
    return WarmEmbedders(model.config, model.recipe, lifetime="detached" if lasting else None)


def _limits(model: ServedModel, *, on_gpus: bool) -> BatchLimits:
    settings = model.config.service.batches
    return BatchLimits(
        texts=settings.most_texts,
        tokens=GPU_CALL_TOKENS if on_gpus else CALL_TOKENS,
        max_tokens=model.recipe.model.spec.max_tokens,
        calls=settings.calls_at_once,
        waiting=settings.most_waiting,
        retry_after_seconds=settings.retry_after_seconds,
    )
