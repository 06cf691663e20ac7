from __future__ import annotations

import pytest

from lexigram_ray.core.errors import CorruptError, LimitExceededError, ParseFailedError, WorkerError
from lexigram_ray.ingestion import office
from lexigram_ray.ingestion.office import tidy


@pytest.mark.parametrize("text", ["f[i](x)", "a[1](b, c)", "table[key](value)", "see [1](2)"])
def test_words_that_only_look_like_a_link_stay(text: str) -> None:
    assert tidy(text) == text


@pytest.mark.parametrize(
    "address",
    [
        "https://x.example/a_(b)",
        "mailto:a@b.example",
        "#anchor",
        "/rules",
        "../rules",
        "www.port.example",
        "port.example/rules",
        "rules.html#two",
        "https://x.example 'title'".replace("'", '"'),
    ],
)
def test_links_keep_their_words_only(address: str) -> None:
    assert tidy(f"see [the rules]({address}), now") == "see the rules, now"


def test_a_picture_leaves_its_description_and_words_that_look_like_one_stay() -> None:
    assert tidy("a ![red crane](media/image1.png) and \\![x](y)") == "a red crane and ![x](y)"


def test_code_within_a_list_stays_as_it_is() -> None:
    code = "  ```\n  a\\_b [x](https://y.example)\n  ```"

    assert tidy(f"- one\\_two\n\n{code}\n") == f"- one_two\n\n{code}\n"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("the operation failed for this information", ParseFailedError),
        ("invalid compression ratio", LimitExceededError),
        ("truncated: length exceeds the file", CorruptError),
        ("Invalid: too many entries", LimitExceededError),
        ("invalid header", CorruptError),
    ],
)
def test_a_reason_is_judged_by_whole_words(
    monkeypatch: pytest.MonkeyPatch, reason: str, expected: type[WorkerError]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(reason)

    monkeypatch.setattr("kreuzberg.extract_bytes_sync", fail)

    with pytest.raises(expected) as raised:
        office.convert(b"x", "application/pdf", limit=1, ocr_language=None)
    assert type(raised.value) is expected


def test_a_missing_program_is_not_blamed_on_pictures_while_they_are_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from kreuzberg import MissingDependencyError

    def fail(*_: object) -> None:
        raise MissingDependencyError("libreoffice is not installed")

    monkeypatch.setattr("kreuzberg.extract_bytes_sync", fail)

    with pytest.raises(ParseFailedError) as raised:
        office.convert(b"x", "application/msword", limit=1, ocr_language=None)
    assert "pictures" not in str(raised.value)
