"""What is told of a store's actors, whatever becomes of them meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray

from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime import own_actors
from lexigram_ray.runtime.actor_names import queue_name
from lexigram_ray.runtime.own_actors import ActorState, states_of


def test_an_actor_that_ends_while_it_is_looked_at_is_shown_as_one_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(name: str, namespace: str) -> None:
        raise ValueError(f"Failed to look up actor with name {name!r} in {namespace}")

    with Store.open(f"sqlite:///{tmp_path / 'jobs.db'}") as store:
        name = queue_name(store.store_id)
        monkeypatch.setattr(own_actors, "names_in_use", lambda: {name})
        monkeypatch.setattr(ray, "get_actor", gone)

        assert states_of(store) == [ActorState(name=name, pid=None, node=None)]
