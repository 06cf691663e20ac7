from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.core.errors import CorruptError, LimitExceededError
from lexigram_ray.ingestion.decode import clean, decode, encoding_of, gunzip

GERMAN = "Die Größe der Schiffe zählt: für Fähren, Öltanker und Schlepper gilt Übliches.\n" * 20
RUSSIAN = "Каждое судно сообщает капитану порта на двенадцатом канале о своём прибытии.\n" * 20
JAPANESE = "すべての船舶は港長に到着を報告しなければならない。霧の時は信号を出すこと。\n" * 20


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "utf-8"),
        (GERMAN, "utf-8-sig"),
        (GERMAN, "latin-1"),
        (GERMAN, "cp1252"),
        (GERMAN, "utf-16"),
        (GERMAN, "utf-16-le"),
        (GERMAN, "utf-16-be"),
        (GERMAN, "utf-32"),
        (RUSSIAN, "utf-8"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (JAPANESE, "utf-8"),
        (JAPANESE, "shift_jis"),
    ],
)
def test_text_is_decoded_whatever_its_encoding(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


def test_typographic_quotes_of_windows_survive() -> None:
    assert decode("\u201cquoted\u201d \u2014 and \u20ac5".encode("cp1252")) == (
        "\u201cquoted\u201d \u2014 and \u20ac5"
    )


def test_a_few_broken_bytes_do_not_make_utf8_something_else() -> None:
    data = RUSSIAN.encode() + b"\xff broken \xc3"

    assert decode(data).startswith(RUSSIAN)
    assert "\ufffd" in decode(data)


def test_utf8_is_found_when_a_character_lies_across_two_blocks() -> None:
    data = b"x" * ((1 << 20) - 1) + "ü".encode() + b"y" * 10

    assert encoding_of(data) == "utf-8"


def test_nul_bytes_and_controls_are_taken_out_and_line_ends_are_one_kind() -> None:
    assert decode(b"a\x00b\x07c\r\nd\re\tf\n") == "abc\nd\ne\tf\n"


def test_lone_surrogates_become_replacement_characters() -> None:
    assert decode(b"before \xed\xa0\x80 after") == "before \ufffd after"
    assert clean("x\ud83d\ude00y") == "x\U0001f600y"


def test_clean_text_is_not_copied() -> None:
    text = GERMAN

    assert clean(text) is text


@given(st.binary(max_size=2000))
def test_any_bytes_decode_to_valid_unicode_without_nul(data: bytes) -> None:
    text = decode(data)

    text.encode()
    assert "\x00" not in text


@given(st.text(max_size=500))
def test_utf8_text_comes_back_as_its_clean_self(text: str) -> None:
    assert decode(b"ascii first " * 3 + text.encode()) == clean("ascii first " * 3 + text)


def test_gzip_is_undone_over_several_members_and_padding() -> None:
    assert gunzip(gzip.compress(b"one ") + gzip.compress(b"two") + b"\x00" * 512, 100) == b"one two"


def test_a_gzip_that_unpacks_beyond_the_limit_is_refused() -> None:
    with pytest.raises(LimitExceededError):
        gunzip(gzip.compress(b" " * (3 << 20)), 2 << 20)


@pytest.mark.parametrize("cut", [5, 20, -4])
def test_a_gzip_cut_short_is_corrupt(cut: int) -> None:
    with pytest.raises(CorruptError):
        gunzip(gzip.compress(bytes(range(256)) * 40)[:cut], 1 << 20)


def test_a_damaged_gzip_is_corrupt() -> None:
    data = bytearray(gzip.compress(GERMAN.encode()))
    data[40] ^= 0xFF

    with pytest.raises(CorruptError):
        gunzip(bytes(data), 1 << 20)


@pytest.mark.parametrize(
    ("data", "declared"),
    [
        (GERMAN.encode("utf-8-sig"), "latin-1"),
        (GERMAN.encode("utf-16"), "latin-1"),
        (GERMAN.encode(), "iso-8859-1"),
        (GERMAN.encode(), "utf-16"),
        (GERMAN.encode("cp1252"), "cp1252"),
        (GERMAN.encode("cp1252"), "ascii"),
        (GERMAN.encode("cp1252"), "undefined"),
        (GERMAN.encode("cp1252"), "base64"),
        (GERMAN.encode("cp1252"), "idna"),
        (GERMAN.encode("cp1252"), "no such name"),
        (GERMAN.encode("cp1252"), "a\x00b"),
    ],
)
def test_a_declared_encoding_is_believed_only_where_the_bytes_allow_it(
    data: bytes, declared: str
) -> None:
    assert decode(data, declared) == GERMAN


def test_a_declared_encoding_decides_between_old_ones() -> None:
    assert decode("Гавань".encode("koi8-r"), "koi8-r") == "Гавань"
    assert decode("港長".encode("iso-2022-jp"), "iso-2022-jp") == "港長"
    assert decode("\u201cquoted\u201d".encode("cp1252"), "iso-8859-1") == "\u201cquoted\u201d"
