"""Identifiers are the same everywhere and sort as they were made."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

from lexigram_ray.core import ids


def test_a_text_and_a_file_of_its_bytes_have_one_hash(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("grüße".encode() * 1_000_000)
    assert ids.hash_file(file) == ids.hash_text("grüße" * 1_000_000)


def test_a_hash_has_128_bits_and_never_changes() -> None:
    assert ids.hash_text("") == "af1349b9f5f9a1a6a0404dea36dcc949"


def test_job_ids_are_uuids_of_version_7_that_sort_by_time() -> None:
    made = []
    for _ in range(5):
        made.append(ids.new_job_id())
        time.sleep(0.002)
    assert made == sorted(made)
    assert {uuid.UUID(job_id).version for job_id in made} == {7}


def test_a_path_that_is_no_utf8_is_shown_as_its_uri() -> None:
    path = Path("/tmp/caf\udce9.txt")
    assert ids.source_name(path) == "file:///tmp/caf%E9.txt"
    assert len(ids.document_id(path)) == 32
    assert ids.source_name(Path("/tmp/café\n.txt")) == "/tmp/café\n.txt"


def test_a_digest_tells_order_and_boundaries() -> None:
    assert ids.digest(["ab", "c"]) != ids.digest(["a", "bc"])
    assert ids.digest(["a", "b"]) != ids.digest(["b", "a"])
