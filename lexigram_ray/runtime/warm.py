"""Warm embedders: named actors that keep a model ready, and the place that runs small jobs there.

They reserve no CPU, so that they cost a bulk job nothing while they are idle.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import ray
from ray.exceptions import ActorDiedError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import lexigram_ray
from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.job_logging import JobTag
from lexigram_ray.core.tracing import traceparent
from lexigram_ray.embedding.fingerprint import fingerprint
from lexigram_ray.jobs.recipes import GivenModel, Recipe
from lexigram_ray.jobs.staged import StagedUnit
from lexigram_ray.jobs.text_executor import RowsExecution
from lexigram_ray.jobs.text_places import POLL_SECONDS
from lexigram_ray.runtime.actor_names import embedder_label, one_of
from lexigram_ray.runtime.actors import EmbedderActor
from lexigram_ray.runtime.careful import CarefulRun, PlaceStopped
from lexigram_ray.runtime.cluster import NAMESPACE
from lexigram_ray.runtime.patience import Silence, patience_for, unit_limit
from lexigram_ray.runtime.pickled_recipe import PickledRecipe
from lexigram_ray.runtime.pool_size import PoolSize, warm_gpus
from lexigram_ray.runtime.transport import unpack

CALLS_AT_ONCE = 4
UNITS_PER_EMBEDDER = 2
MOST_MODELS = 2

logger = logging.getLogger("lexigram_ray")


class WarmEmbedders:
    """One embedder a node for a model: a detached one that is there already, or one started now.

    Args:
        lifetime: `detached` ones outlive this process, and any process of the cluster finds them
            by their name; others are this object's own, and end with it.
    """

    def __init__(
        self,
        config: WorkersConfig,
        recipe: Recipe,
        *,
        lifetime: Literal["detached"] | None = None,
    ) -> None:
        self._config = config
        self._recipe = recipe
        self._lifetime = lifetime
        self._label = f"embed:{recipe.model.spec.name.rpartition('/')[2]}"
        self._key = warm_key(config, recipe)
        self._handles: dict[str, Any] = {}

    def on_every_node(self) -> list[Any]:
        """Return the handles of `EmbedderActor`s, one a living node."""
        return [self._on(node) for node in ray.nodes() if node["Alive"]]

    def forget(self, handle: Any) -> None:
        """Have another made in place of one that died, when one is asked for again."""
        for node_id, held in list(self._handles.items()):
            if held is handle:
                del self._handles[node_id]

    def end(self) -> None:
        """End embedders, detached ones too, once they have done what they are asked to do."""
        for handle in self._handles.values():
            handle.__ray_terminate__.remote()
        self._handles.clear()

    def _on(self, node: dict[str, Any]) -> Any:
        handle = self._handles.get(node["NodeID"])
        if handle is None:
            handle = self._handles[node["NodeID"]] = self._found_or_started(node)
        return handle

    def _found_or_started(self, node: dict[str, Any]) -> Any:
        name = f"{self._label}:{self._key}:{node['NodeID'][:12]}"
        with suppress(ValueError):
            return ray.get_actor(name, namespace=NAMESPACE)
        if self._lifetime is None:
            # Another place of this process must not find it, and see it end with this one.
            name = one_of(name)
        actor = ray.remote(EmbedderActor).options(
            name=name,
            namespace=NAMESPACE,
            get_if_exists=True,
            lifetime=self._lifetime,
            num_cpus=0,
            num_gpus=warm_gpus(node["Resources"], self._config.runtime),
            max_restarts=-1,
            max_concurrency=CALLS_AT_ONCE,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        )
        return actor.remote(self._config, PickledRecipe.of(self._recipe), self._label)


class SessionEmbedders:
    """Warm embedders that live as long as this process is attached to its cluster.

    For notebooks: a second small job finds the model of the first one loaded. The models used
    last are kept, `MOST_MODELS` of them.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], WarmEmbedders] = {}
        self._use = threading.Lock()

    def of(self, config: WorkersConfig, recipe: Recipe) -> WarmEmbedders:
        """Return those of a model, started where they are missing."""
        # Handles do not outlive the connection that they were made in.
        session = ray.get_runtime_context().get_worker_id()
        key = (session, warm_key(config, recipe))
        with self._use:
            self._held = {key: held for key, held in self._held.items() if key[0] == session}
            found = self._held.pop(key, None) or WarmEmbedders(config, recipe)
            self._held[key] = found
            while len(self._held) > MOST_MODELS:
                # Not ended: a job of another thread may be at work on them.
                del self._held[next(iter(self._held))]
        return found


def warm_key(config: WorkersConfig, recipe: Recipe) -> str:
    """Return what warm embedders must agree in to be one: model, cache, settings and code."""
    agreed = [
        fingerprint(recipe.model.spec),
        config.embedding.model_dump_json(),
        config.runtime.embedder_gpus,
        str(config.paths.cache),
        str(config.paths.models),
        lexigram_ray.__version__,
    ]
    if isinstance(recipe.model, GivenModel):
        # What a provider says of itself need not tell it from another one.
        agreed.append(PickledRecipe.of(recipe).pickled.hex())
    return hash_text(json.dumps(agreed))[:16]


@dataclass(slots=True)
class _Warm:
    handle: Any
    is_dead: bool = False
    under_way: dict[Any, StagedUnit] = field(default_factory=dict[Any, StagedUnit])


class WarmPlace:
    """Embeds units on warm embedders.

    Ray must be running.

    Args:
        collection: For the names of tasks in the dashboard.
        embedders: Else those of this configuration, started where they are missing.
    """

    name = "warm embedder"

    def __init__(
        self,
        config: WorkersConfig,
        recipe: Recipe,
        *,
        job_id: str,
        collection: str,
        embedders: WarmEmbedders | None = None,
    ) -> None:
        self._config = config
        self._recipe = recipe
        self._job = JobTag(job_id=job_id, collection=collection, trace=traceparent())
        # Those of this place alone end once nobody holds them, and need not forget the dead.
        self._lasting = embedders
        handles = (embedders or WarmEmbedders(config, recipe)).on_every_node()
        self._warm = [_Warm(handle) for handle in handles]

    def run(
        self, path: Path, units: Sequence[StagedUnit], *, keep_on: Callable[[], bool]
    ) -> Iterator[tuple[StagedUnit, RowsExecution]]:
        """Yield each unit once; see `TextPlace.run`.

        Raises:
            WorkerError: The machine is at fault, or no embedder answers a second time.
        """
        waiting = deque(units)
        suspects: list[StagedUnit] = []
        rows = max((unit.rows for unit in units), default=0)
        silence = Silence("a warm embedder", patience_for(rows, unit_limit(self._config)))
        with suppress(PlaceStopped):
            while self._hand_out(path, waiting):
                for warm, reference in self._ready(keep_on, silence):
                    unit = warm.under_way.pop(reference)
                    execution = self._result(warm, reference)
                    if execution is None:
                        suspects.append(unit)
                    else:
                        yield unit, execution
            # Where all embedders have died, nobody took these.
            suspects.extend(waiting)
            if suspects:
                careful = CarefulRun(
                    self._config,
                    PickledRecipe.of(self._recipe),
                    PoolSize(
                        embedders=1,
                        per_node=1,
                        cpus=0,
                        gpus=warm_gpus(ray.cluster_resources(), self._config.runtime),
                    ),
                    job=self._job,
                )
                yield from careful.run(path, suspects, keep_on=keep_on)

    def close(self) -> None:
        """Let go of the embedders; those that were started for this place alone end."""
        self._warm.clear()

    def _hand_out(self, path: Path, waiting: deque[StagedUnit]) -> bool:
        """Hand units to embedders that live; return whether anything is under way."""
        for warm in self._warm:
            if warm.is_dead:
                continue
            while waiting and len(warm.under_way) < UNITS_PER_EMBEDDER:
                unit = waiting.popleft()
                task = warm.handle.execute_unit.options(name=embedder_label(self._job))
                warm.under_way[task.remote(str(path), unit, self._job)] = unit
        return any(warm.under_way for warm in self._warm)

    def _ready(self, keep_on: Callable[[], bool], silence: Silence) -> list[tuple[_Warm, Any]]:
        silence.begin()
        owners = {reference: warm for warm in self._warm for reference in warm.under_way}
        while keep_on():
            ready, _ = ray.wait(list(owners), timeout=POLL_SECONDS)
            if ready:
                return [(owners[reference], reference) for reference in ready]
            try:
                silence.goes_on()
            except WorkerError as error:
                logger.info("a warm embedder hangs: %s", error)
                self._start_anew()
                silence.begin()
        raise PlaceStopped

    def _start_anew(self) -> None:
        """End embedders that answer nothing; others' texts there are embedded when they are back.

        What was under way for this place fails, and becomes a suspect.
        """
        for warm in self._warm:
            if warm.under_way:
                ray.kill(warm.handle, no_restart=False)

    def _result(self, warm: _Warm, reference: Any) -> RowsExecution | None:
        try:
            return unpack(ray.get(reference)).execution
        except RayError as error:
            logger.info("a warm embedder died: %s", error)
            # Where Ray starts it anew, calls fail as well until it is there.
            warm.is_dead = True
            if self._lasting is not None and isinstance(error, ActorDiedError):
                self._lasting.forget(warm.handle)
            return None
