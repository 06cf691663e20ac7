from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.embedding.key_index import KeyIndex, keys_from_hex

# Few different halves, so that keys repeat and share their high halves.
HALF = st.sampled_from(["0" * 16, "0" * 15 + "1", "f" * 16, "00ab" * 4])
KEY = st.builds(lambda high, low: high + low, HALF, HALF)


@given(st.lists(st.lists(KEY, max_size=6), max_size=20), st.lists(KEY, max_size=10))
def test_every_key_is_found_at_its_newest_row(appended, wanted):
    index = KeyIndex()
    newest: dict[str, int] = {}
    rows = 0
    for block in appended:
        index.append(keys_from_hex(block))
        newest.update({key: rows + place for place, key in enumerate(block)})
        rows += len(block)

    found = index.find(keys_from_hex(wanted))

    assert found.tolist() == [newest.get(key, -1) for key in wanted]
    assert len(index) == rows


def test_a_hash_of_another_length_is_refused():
    with pytest.raises(ValueError, match="32 hex digits"):
        keys_from_hex(["ab", "cd" * 31])


def test_no_hashes_are_no_keys():
    assert len(keys_from_hex([])) == 0
    assert KeyIndex().find(np.empty(0, keys_from_hex([]).dtype)).tolist() == []
