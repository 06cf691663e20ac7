"""How values are distributed, in so little room that every minute can keep it.

A value is counted in a bucket whose bounds grow by a constant factor, so that a quantile is off by
at most `RELATIVE_ERROR` of itself, whatever the values are. Histograms add up: that of an hour is
the sum of those of its minutes.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

RELATIVE_ERROR = 0.05
"""Of a quantile, at most, for values from `LEAST` on."""

LEAST = 1e-6
"""Whatever is smaller is counted as this: in seconds, a microsecond."""

_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GROWTH = math.log(_GROWTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Counts of values by bucket; buckets that hold nothing are not there.

    Attributes:
        buckets: Bucket `i` counts the values in `(growth**(i-1), growth**i]`.
    """

    buckets: Mapping[int, int] = field(default_factory=dict[int, int])

    @classmethod
    def of(cls, values: Iterable[float]) -> Histogram:
        """Count values; those below `LEAST`, negative ones too, as `LEAST`."""
        return cls(buckets=Counter(map(_bucket_of, values)))

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.buckets.values())

    def merged(self, other: Histogram) -> Histogram:
        """Return the histogram of the values of both."""
        buckets = dict(self.buckets)
        for bucket, count in other.buckets.items():
            buckets[bucket] = buckets.get(bucket, 0) + count
        return Histogram(buckets=buckets)

    def quantile(self, fraction: float) -> float | None:
        """Return about the value that this fraction of all values does not exceed; None of none.

        Args:
            fraction: From 0 to 1: 0.5 asks for the median.
        """
        # The value of this place in their order: of 4 values, 0.95 asks for the last.
        place = max(1, math.ceil(fraction * self.count))
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= place:
                return _middle_of(bucket)
        return None

    def to_json(self) -> str:
        """Return the buckets as a JSON object, in their order."""
        ordered = {str(bucket): self.buckets[bucket] for bucket in sorted(self.buckets)}
        return json.dumps(ordered, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Histogram:
        """Read back what `to_json` wrote."""
        return cls(buckets={int(bucket): count for bucket, count in json.loads(text).items()})


def _bucket_of(value: float) -> int:
    return math.ceil(math.log(max(value, LEAST)) / _LOG_GROWTH)


def _middle_of(bucket: int) -> float:
    # Equally far, relative to themselves, from both bounds.
    return 2 * _GROWTH**bucket / (_GROWTH + 1)
