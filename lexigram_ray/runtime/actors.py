"""What runs inside Ray's workers. Each actor only holds tools and calls the plain functions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayError, RayTaskError

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import EmbedderDiedError, WorkerError
from lexigram_ray.core.job_logging import JobTag, logged_as
from lexigram_ray.core.types import Document
from lexigram_ray.embedding.cached import CachedEmbedder, Embedded
from lexigram_ray.embedding.devices import available_cpus, threads_for
from lexigram_ray.embedding.encoding import EncodedTexts
from lexigram_ray.jobs.executor import Execution, Tools, execute
from lexigram_ray.jobs.recipes import Recipe
from lexigram_ray.jobs.staged import StagedUnit
from lexigram_ray.jobs.text_executor import RowsExecution, execute_rows
from lexigram_ray.jobs.text_places import execute_unit
from lexigram_ray.jobs.toolbox import make_embedder, make_tools
from lexigram_ray.runtime.actor_names import embedder_label
from lexigram_ray.runtime.pickled_recipe import PickledRecipe
from lexigram_ray.runtime.ray_process import begin_ray_process
from lexigram_ray.runtime.transport import pack, pack_error

IDLE_FLUSH_SECONDS = 2.0
WARM_UP = ("warm", "warmer still")


class WorkerEmbedder:
    """Cache and model in a worker: made at the first use, written back when nothing is to do.

    Args:
        per_node: How many such workers a node has; they share its cores.
    """

    def __init__(self, config: WorkersConfig, recipe: PickledRecipe, per_node: int = 1) -> None:
        self._config = config
        self._recipe = recipe
        self._per_node = per_node
        self._use = threading.Lock()
        self._users = 0
        self._flushed = time.monotonic()
        self._embedder: CachedEmbedder | None = None

    def embed(self, texts: Sequence[str], hashes: Sequence[str]) -> Embedded:
        """Embed documents in order."""
        return self._made().embed(texts, hashes)

    def encode(self, texts: Sequence[str], *, as_query: bool) -> EncodedTexts:
        """Embed documents or queries past the cache."""
        return self._made().encode(texts, as_query=as_query)

    def execute_unit(
        self, path: str, unit: StagedUnit, job_id: str, *, others_follow: bool = False
    ) -> pa.Table:
        """Embed a unit of a staged table that this node sees; return a parcel.

        Args:
            others_follow: More units are on their way here, so that vectors need not be written
                back after this one.
        """
        return self._packed(
            unit.index,
            lambda embedder: execute_unit(Path(path), unit, embedder, job_id=job_id),
            others_follow=others_follow,
        )

    def execute_table(self, staged: pa.Table, job_id: str) -> pa.Table:
        """Embed rows with the columns of a staged table; return a parcel."""
        return self._packed(0, lambda embedder: execute_rows(staged, embedder, job_id=job_id))

    def close(self) -> None:
        """Write what the cache holds back, and let go of the model."""
        with self._use:
            if self._embedder is not None:
                self._embedder.close()

    def _packed(
        self,
        unit: int,
        execute: Callable[[CachedEmbedder], RowsExecution],
        *,
        others_follow: bool = False,
    ) -> pa.Table:
        # What is raised in a worker, Ray prints: at once, or when nobody asks for the result.
        try:
            with self._flushed_when_idle(others_follow=others_follow) as embedder:
                execution = execute(embedder)
        except Exception as error:  # noqa: BLE001 - raised again where the parcel is opened
            return pack_error(unit, error)
        return pack(unit, execution)

    @contextmanager
    def _flushed_when_idle(self, *, others_follow: bool) -> Generator[CachedEmbedder]:
        embedder = self._made()
        with self._use:
            self._users += 1
        try:
            yield embedder
        finally:
            with self._use:
                self._users -= 1
                is_idle = self._users == 0
            # Ray may end a worker at any time once it has nothing to do. Between fast units a
            # worker is idle for moments; each would cost a commit of the cache.
            waited = time.monotonic() - self._flushed
            if is_idle and (waited > IDLE_FLUSH_SECONDS or not others_follow):
                embedder.flush()
                self._flushed = time.monotonic()

    def _made(self) -> CachedEmbedder:
        # Not in an actor's __init__: of an error there Ray tells the text, but not the error.
        with self._use:
            if self._embedder is None:
                # Ray gives workers as many threads as they reserve CPUs; the engine needs its
                # share of the node's.
                threads = threads_for(available_cpus(), self._per_node)
                self._embedder = make_embedder(self._config, self._recipe.load(), threads)
            return self._embedder


class EmbedderActor:
    """Cache and model of one node, warm for as long as it lives.

    Args:
        label: Shown by the Ray dashboard and in log lines.
        job: The one that it works for; None where it is kept warm for any.
    """

    def __init__(
        self,
        config: WorkersConfig,
        recipe: PickledRecipe,
        label: str,
        per_node: int = 1,
        *,
        job: JobTag | None = None,
    ) -> None:
        begin_ray_process(config, job)
        self._label = label
        self._embedder = WorkerEmbedder(config, recipe, per_node)

    def __repr__(self) -> str:
        return self._label

    def embed(self, texts: Sequence[str], hashes: Sequence[str]) -> Embedded:
        """Embed documents in order."""
        return self._embedder.embed(texts, hashes)

    def prepare(self) -> None:
        """Load the model, so that the first request does not wait for it."""
        # One text and several take different ways through the engine.
        self._embedder.encode(WARM_UP[:1], as_query=True)
        self._embedder.encode(WARM_UP, as_query=False)

    def load(self) -> None:
        """Load the model for documents, so that the time which that takes is no text's.

        What fails here fails again at the first text, where it is told.
        """
        with suppress(Exception):
            self._embedder.encode(WARM_UP, as_query=False)

    def encode(self, texts: Sequence[str], *, as_query: bool) -> EncodedTexts:
        """Embed documents or queries past the cache, and count their tokens."""
        return self._embedder.encode(texts, as_query=as_query)

    def execute_unit(self, path: str, unit: StagedUnit, job: JobTag) -> pa.Table:
        """Embed a unit of a staged table that this node sees; return a parcel."""
        with logged_as(job.job_id, job.collection, job.trace):
            return self._embedder.execute_unit(path, unit, job.job_id)

    def execute_table(self, staged: pa.Table, job: JobTag) -> pa.Table:
        """Embed rows with the columns of a staged table; return a parcel."""
        with logged_as(job.job_id, job.collection, job.trace):
            return self._embedder.execute_table(staged, job.job_id)

    def close(self) -> None:
        """Write what the cache holds back."""
        self._embedder.close()


class IngestionActor:
    """A parser process, a chunker, and a way to the embedder."""

    def __init__(
        self, config: WorkersConfig, recipe: Recipe, embedder: Any, job: JobTag, label: str
    ) -> None:
        begin_ray_process(config, job)
        self._label = label
        remote = RemoteEmbedder(embedder, embedder_label(job))
        self._make = lambda: make_tools(config, recipe, remote, job.job_id)
        self._tools: Tools | None = None

    def __repr__(self) -> str:
        return self._label

    def execute(self, documents: Sequence[Document]) -> Execution:
        """Execute a batch."""
        # Not in __init__, for the same reason as above.
        if self._tools is None:
            self._tools = self._make()
        return execute(documents, self._tools)


class RemoteEmbedder:
    """An `Embedder` whose model lives in an actor, a job's own or a warm one.

    Args:
        task: What its calls are called in the Ray dashboard.
    """

    def __init__(self, actor: Any, task: str) -> None:
        self._embed = actor.embed.options(name=task)

    def embed(self, texts: Sequence[str], hashes: Sequence[str]) -> Embedded:
        """Embed documents in order.

        Raises:
            EmbedderDiedError: The actor died, again after a new start too, or Ray failed.
        """
        try:
            embedded: Embedded = ray.get(self._embed.remote(texts, hashes))
            return embedded
        except RayTaskError as error:
            if isinstance(error.cause, WorkerError):
                raise error.cause from None
            raise
        except RayError as error:
            # Its death, out of memory, a lost node or object: no document's fault for certain.
            raise EmbedderDiedError(f"the embedder does not answer: {error}") from error
