"""The meter of Ray's processes: values go to Ray, and from there to the node's metrics port."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from ray.util.metrics import Counter, Gauge, Histogram

from lexigram_ray.core.telemetry import Metric, MetricKind, set_meter


class RayMeter:
    """Hands values to Ray's own metrics, each made at its first use."""

    def __init__(self) -> None:
        self._making = threading.Lock()
        self._made: dict[str, Counter | Gauge | Histogram] = {}

    def count(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        counter = self._of(metric)
        # Ray refuses 0 as an error.
        if isinstance(counter, Counter) and amount > 0:
            counter.inc(amount, metric.tags(labels))

    def gauge(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""
        gauge = self._of(metric)
        if isinstance(gauge, Gauge):
            gauge.set(value, metric.tags(labels))

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Put a value into a histogram."""
        histogram = self._of(metric)
        if isinstance(histogram, Histogram):
            histogram.observe(value, metric.tags(labels))

    def _of(self, metric: Metric) -> Counter | Gauge | Histogram:
        made = self._made.get(metric.name)
        if made is None:
            with self._making:
                made = self._made.setdefault(metric.name, _made(metric))
        return made


def _made(metric: Metric) -> Counter | Gauge | Histogram:
    if metric.kind is MetricKind.COUNTER:
        return Counter(metric.name, metric.description, metric.labels)
    if metric.kind is MetricKind.GAUGE:
        return Gauge(metric.name, metric.description, metric.labels)
    return Histogram(metric.name, metric.description, list(metric.boundaries), metric.labels)


def measure_with_ray() -> None:
    """Have this process, a worker or an actor of Ray, measure from now on."""
    set_meter(RayMeter())


@contextmanager
def measuring_while_attached() -> Generator[None]:
    """Measure as long as this process is attached to a cluster."""
    before = set_meter(RayMeter())
    try:
        yield
    finally:
        set_meter(before)
