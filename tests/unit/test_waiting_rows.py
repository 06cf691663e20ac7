from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.embedding.key_index import keys_from_hex
from lexigram_ray.embedding.waiting_rows import WaitingRows

KEY = st.sampled_from([f"{number:032x}" for number in range(6)])


@given(st.lists(st.lists(KEY, max_size=4), max_size=6), st.lists(KEY, max_size=8))
def test_the_newest_vector_of_each_waiting_key_is_found(blocks, wanted):
    waiting = WaitingRows(1)
    newest: dict[str, int] = {}
    number = 0
    for block in blocks:
        vectors = np.arange(number, number + len(block), dtype=np.float32)[:, None]
        waiting.add(keys_from_hex(block), vectors, now=float(number))
        newest.update({key: number + place for place, key in enumerate(block)})
        number += len(block)
    found = np.zeros(len(wanted), np.bool_)
    vectors = np.full((len(wanted), 1), -1, np.float32)

    waiting.fill(keys_from_hex(wanted), found, vectors)

    assert vectors[:, 0].tolist() == [newest.get(key, -1) for key in wanted]
    assert found.tolist() == [key in newest for key in wanted]
    assert waiting.contains(keys_from_hex(wanted)).tolist() == found.tolist()
    assert len(waiting) == len(waiting.keys) == sum(map(len, waiting.blocks)) == number
    assert waiting.since == (0.0 if number else None)
