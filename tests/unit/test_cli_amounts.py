from __future__ import annotations

import pytest

from lexigram_ray.cli.amounts import parse_bytes, parse_days
from lexigram_ray.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "days"), [("90d", 90), ("12w", 84), ("1y", 365), ("7", 7), (" 0D ", 0)]
)
def test_ages_are_read_in_days(text, days):
    assert parse_days("--unused-for", text) == days


@pytest.mark.parametrize(
    ("text", "size"),
    [("5GB", 5_000_000_000), ("1.5 kb", 1500), ("512MiB", 512 << 20), ("100", 100), ("7B", 7)],
)
def test_sizes_are_read_in_bytes(text, size):
    assert parse_bytes("--max-size", text) == size


@pytest.mark.parametrize("text", ["", "-1d", "d", "1h", "1.5d", "ten"])
def test_what_is_no_age_is_wrong_use(text):
    with pytest.raises(UsageError, match="--unused-for") as caught:
        parse_days("--unused-for", text)
    assert caught.value.hint is not None


@pytest.mark.parametrize("text", ["", "-1GB", "GB", "1XB", "1e9", "five"])
def test_what_is_no_size_is_wrong_use(text):
    with pytest.raises(UsageError, match="--max-size"):
        parse_bytes("--max-size", text)
