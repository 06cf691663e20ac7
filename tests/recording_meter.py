"""A meter that keeps what it is told, and is strict about labels."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator

import pytest

from lexigram_ray.core.telemetry import Metric, MetricKind, set_meter


class RecordingMeter:
    """Keeps every value by metric and labels.

    Attributes:
        values: By name and sorted labels: a counter's sum, a gauge's last value, or all values.
    """

    def __init__(self) -> None:
        self.values: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = defaultdict(list)
        self._writing = threading.Lock()

    def count(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        assert metric.kind is MetricKind.COUNTER
        if amount:
            self._keep(metric, amount, labels)

    def gauge(self, metric: Metric, value: float, **labels: str) -> None:
        assert metric.kind is MetricKind.GAUGE
        self._keep(metric, value, labels)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        assert metric.kind is MetricKind.HISTOGRAM
        self._keep(metric, value, labels)

    def counted(self, metric: Metric, **labels: str) -> float:
        return sum(self._of(metric.name, labels))

    def observed(self, name: str, **labels: str) -> int:
        return len(self._of(name, labels))

    def stands_at(self, metric: Metric, **labels: str) -> float:
        return self._of(metric.name, labels)[-1]

    def _keep(self, metric: Metric, value: float, labels: dict[str, str]) -> None:
        assert set(labels) == set(metric.labels), f"{metric.name} with {sorted(labels)}"
        with self._writing:
            self.values[metric.name, tuple(sorted(labels.items()))].append(value)

    def _of(self, name: str, labels: dict[str, str]) -> list[float]:
        return [
            value
            for (kept, with_labels), values in self.values.items()
            if kept == name and labels.items() <= dict(with_labels).items()
            for value in values
        ]


@pytest.fixture
def recording() -> Iterator[RecordingMeter]:
    """What is measured during the test."""
    meter = RecordingMeter()
    before = set_meter(meter)
    yield meter
    set_meter(before)
