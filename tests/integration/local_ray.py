"""Ray on this machine, for the tests of a module."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import ray

from lexigram_ray.runtime.cluster import NAMESPACE


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """A cluster of two CPUs that ends with the module."""
    ray.init(
        address="local",
        namespace=NAMESPACE,
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=300 * 1024 * 1024,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        yield
    finally:
        ray.shutdown()
