"""Errors of the same cause have the same fingerprint, whatever document they are about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.jobs.fingerprints import fingerprint, skeleton

ALIKE = {
    "paths": ("cannot read /data/a/1.pdf: truncated", "cannot read /data/b c/2.pdf: truncated"),
    "quoted": ("no column 'text' in the table", 'no column "body" in the table'),
    "urls": (
        "https://a.example/v1?x=1 answered 503",
        "http://b.example:8080/embed answered 503",
    ),
    "numbers": ("page 3 of 10 is damaged", "page 1,204 of 9.5 is damaged"),
    "hex": ("object at 0x7f3a is gone", "object at 0xdeadbeef01 is gone"),
    "ids": (
        "actor 01234567-89ab-cdef-0123-456789abcdef died",
        "actor fedcba98-7654-3210-fedc-ba9876543210 died",
    ),
    "hashes": ("task 3f5e9a1bffff failed", "task 00c0ffee1234 failed"),
    "times": (
        "busy until 2024-05-01T10:20:30Z, try later",
        "busy until 2025-12-31 23:59:59.5+01:00, try later",
    ),
    "windows": (r"cannot open C:\texts\a.doc now", r"cannot open D:\b.doc now"),
    "spaces": ("it is\n  truncated", "it is truncated"),
    "lists": ("rows 1, 2 and 3 failed", "rows 4, 5, 6 and 7 failed"),
}
DIFFERENT = (
    "can't open it, it's locked",
    "can't open it, it's empty",
    "a decade of dead beef",
    "a facade of dead beef",
    "the file is encrypted",
    "the file is truncated",
)


@pytest.mark.parametrize("name", sorted(ALIKE))
def test_what_differs_from_document_to_document_does_not_count(name: str) -> None:
    one, other = ALIKE[name]
    known = ("/data/b c/2.pdf",)

    assert fingerprint("c", "T", one) == fingerprint("c", "T", other, known=known), (
        skeleton(one),
        skeleton(other, known=known),
    )


def test_words_code_and_type_count() -> None:
    prints = {fingerprint("c", "T", words) for words in DIFFERENT}
    prints |= {fingerprint("d", "T", DIFFERENT[0]), fingerprint("c", "U", DIFFERENT[0])}

    assert len(prints) == len(DIFFERENT) + 2


@given(st.text(), st.lists(st.text(), max_size=3))
def test_any_text_has_a_fingerprint_of_sixteen_digits(error: str, known: list[str]) -> None:
    made = fingerprint("code", "Type", error, known=known)

    assert len(made) == 16
    assert made == fingerprint("code", "Type", f"  {error}  ", known=known) or len(error) > 1_900


@given(st.integers(), st.integers())
def test_every_number_is_like_any_other(one: int, other: int) -> None:
    assert fingerprint("c", "", f"of {one} bytes") == fingerprint("c", "", f"of {other} bytes")
