"""A cluster of several nodes is worked on only where all its nodes see the same state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.errors import ConfigError
from lexigram_ray.jobs.filesystem import Filesystem
from lexigram_ray.runtime import cluster
from lexigram_ray.runtime.cluster import NAMESPACE, connected
from tests.postgres_server import postgres_ends_with_the_session, postgres_server

__all__ = ["postgres_ends_with_the_session"]

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    """The address of a cluster of two nodes, both on this machine."""
    small = {"num_cpus": 1, "object_store_memory": 100 * 1024 * 1024}
    made = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    try:
        made.add_node(**small)
        yield made.address
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def on_postgresql(tmp_path: Path) -> WorkersConfig:
    return load_config(state_dir=tmp_path, store_url=postgres_server().fresh_database())


def test_a_store_on_sqlite_is_refused(two_nodes: str, tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="store_url") as caught,
        connected(load_config(state_dir=tmp_path), two_nodes),
    ):
        pass

    assert caught.value.hint is not None
    assert "PostgreSQL" in caught.value.hint
    assert not ray.is_initialized()


def test_data_on_a_disk_of_this_machine_is_refused(
    two_nodes: str, on_postgresql: WorkersConfig
) -> None:
    with (
        pytest.raises(ConfigError, match="data_uri") as caught,
        connected(on_postgresql, two_nodes),
    ):
        pass

    assert caught.value.hint is not None
    assert "network file system" in caught.value.hint


def test_a_store_on_postgresql_and_shared_data_are_worked_with(
    two_nodes: str, on_postgresql: WorkersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Filesystem(mount_point="/mnt", kind="nfs4")
    monkeypatch.setattr(cluster, "filesystem_of", lambda path: shared)

    with connected(on_postgresql, two_nodes):
        assert ray.get_runtime_context().namespace == NAMESPACE
        # The same is checked where the process is attached already.
        with connected(on_postgresql, None):
            assert len(ray.nodes()) == 2
        assert ray.is_initialized()
    assert not ray.is_initialized()
