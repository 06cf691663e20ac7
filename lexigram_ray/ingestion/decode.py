"""Bytes to text: gzip undone within a limit, the encoding found, what is no text taken out."""

from __future__ import annotations

import codecs
import re
import zipfile
import zlib
from collections.abc import Iterator

from lexigram_ray.core.errors import CorruptError, LimitExceededError

GZIP_MAGIC = b"\x1f\x8b\x08"

_BOMS = (
    # UTF-32 first: its little-endian mark begins with UTF-16's.
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
# What is written under these names is their superset, as browsers know.
_WIDER = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
}
_NOT_FOR_DOCUMENTS = frozenset(
    {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "utf-7"}
)
_BLOCK = 1 << 20
_SLICE = 1 << 16
_SAMPLE = 1 << 16
_MANY_HIGH_BYTES = 0.25
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ufeff]")
_NEWLINE = re.compile("\r\n?|[\f\x85\u2028\u2029]")
_CONTROL_BYTES = bytes(set(range(32)) - set(b"\t\n")) + b"\x7f"
_HIGH = bytes(range(0x80, 0x100))


def gunzip(data: bytes, limit: int) -> bytes:
    """Undo one layer of gzip, all members of it.

    Args:
        data: A gzip file.
        limit: The most bytes that may come out.

    Raises:
        LimitExceededError: More than `limit` bytes would come out.
        CorruptError: The stream is broken or ends too early.
    """
    # A bytearray grows in place: a list of blocks would be a second copy when it is joined.
    out = bytearray()
    position = 0
    while data.startswith(GZIP_MAGIC, position):
        position = _gunzip_member(data, position, out, limit)
    return bytes(out)


def _gunzip_member(data: bytes, position: int, out: bytearray, limit: int) -> int:
    member = zlib.decompressobj(wbits=31)
    view = memoryview(data)
    try:
        while not member.eof:
            # Small slices go in: what is left of a slice is copied at every step.
            piece = member.unconsumed_tail or view[position : position + _SLICE]
            if not piece:
                raise CorruptError("the gzip stream ends too early")
            if not member.unconsumed_tail:
                position += len(piece)
            out += member.decompress(piece, _BLOCK)
            if len(out) > limit:
                raise LimitExceededError(
                    f"it unpacks to more than {limit >> 20} MB",
                    hint="raise parser.max_decoded_mb if the file is trusted",
                )
    except zlib.error as error:
        raise CorruptError(f"the gzip stream is damaged: {error}") from error
    return position - len(member.unused_data)


def check_unpacked_size(archive: zipfile.ZipFile, limit: int) -> None:
    """Refuse a zip whose members together unpack to more than `limit` bytes.

    The sizes are the archive's own word. One that lies is stopped by the sandbox's memory limit.

    Raises:
        LimitExceededError: It would unpack to more.
    """
    size = sum(member.file_size for member in archive.infolist())
    if size > limit:
        raise LimitExceededError(
            f"it unpacks to {size >> 20} MB, more than {limit >> 20} MB",
            hint="raise parser.max_decoded_mb if the file is trusted",
        )


def encoding_of(data: bytes) -> str:
    """Find the encoding of bytes that are text.

    A byte order mark decides; then what is valid UTF-8 is UTF-8; then UTF-16 shows by its zeros.
    The rest is an old 8-bit or East Asian encoding: guessed from a sample where most bytes are
    beyond ASCII, Windows-1252 where few are (guessing goes wrong on a handful of accents).
    """
    for mark, name in _BOMS:
        if data.startswith(mark):
            return name
    wide = _utf16_without_mark(data[:_SAMPLE])
    if wide:
        return wide
    if _is_utf8(data):
        return "utf-8"
    return _legacy_encoding(data)


def decode(data: bytes, declared: str | None = None) -> str:
    """Decode text, with the encoding that it declares as one hint; never fails.

    A byte order mark and valid UTF-8 say more than a declaration, which is often left over from
    another time.

    Args:
        data: The bytes.
        declared: The encoding that the document itself names, if it names one.

    Returns:
        Valid Unicode, as `clean` returns it. Bytes that mean nothing are U+FFFD.
    """
    if declared and not _shows_its_encoding(data):
        try:
            return clean(data.decode(_meant(declared), errors="replace"))
        except (LookupError, ValueError):
            # An unknown name, no encoding of text, or one that cannot replace.
            return decode(data)
    name = encoding_of(data)
    try:
        text = data.decode(name, errors="surrogatepass" if name == "utf-8" else "replace")
    except UnicodeDecodeError:
        text = data.decode(name, errors="replace")
    return clean(text)


def _shows_its_encoding(data: bytes) -> bool:
    if data.startswith((codecs.BOM_UTF8, *(mark for mark, _ in _BOMS))):
        return True
    # Text in ISO-2022 is all ASCII, so only what lies beyond ASCII shows UTF-8.
    return bool(_utf16_without_mark(data[:_SAMPLE])) or (not data.isascii() and _is_utf8(data))


def _meant(declared: str) -> str:
    name = codecs.lookup(declared).name
    if name in _NOT_FOR_DOCUMENTS:
        raise LookupError(f"{name} is no encoding of documents")
    if name.startswith(("utf-16", "utf-32")):
        # The declaration was read as ASCII, so that it cannot be true.
        return "utf-8"
    return _WIDER.get(name, name)


def clean(text: str) -> str:
    r"""Take out NUL and other control characters, lone surrogates, and line ends but `\n`.

    Returns `text` itself where it is clean already, so that a big one is not copied.
    """
    if all(_is_clean(block) for block in _blocks(text)):
        return text
    return "".join(_cleaned(block) for block in _blocks(text.replace("\r\n", "\n")))


def _blocks(text: str) -> Iterator[str]:
    for start in range(0, len(text), _BLOCK):
        yield text[start : start + _BLOCK]


def _is_clean(block: str) -> bool:
    # Ten times as fast as one search for a class of characters.
    try:
        data = block.encode()
    except UnicodeEncodeError:
        return False
    if len(data.translate(None, _CONTROL_BYTES)) != len(data):
        return False
    return data.isascii() or not any(mark in block for mark in "\x85\u2028\u2029\ufeff")


def _cleaned(block: str) -> str:
    if _SURROGATE.search(block):
        # Pairs that were written one by one (CESU-8, JSON escapes) are joined; the rest is lost.
        block = block.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _CONTROL.sub("", _NEWLINE.sub("\n", block))


def _is_utf8(data: bytes) -> bool:
    # Block by block: decoding the whole only to look would double the memory of a big file.
    start, bad, good = 0, 0, 0
    while start < len(data):
        end = _character_boundary(data, min(start + _BLOCK, len(data)))
        block = data[start:end]
        start = end
        if block.isascii():
            continue
        text = block.decode("utf-8", errors="replace")
        lost = text.count("\ufffd")
        if lost:
            lost = 0 if _is_only_surrogates_wrong(block) else lost
            bad += lost
        good += len(block) - len(block.translate(None, _HIGH)) - lost
    return bad == 0 or bad * 20 < good


def _is_only_surrogates_wrong(block: bytes) -> bool:
    try:
        block.decode("utf-8", errors="surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _character_boundary(data: bytes, end: int) -> int:
    # Steps back over continuation bytes, so that no character is cut in two.
    for position in range(end, max(end - 4, 0), -1):
        if position == len(data) or data[position] & 0xC0 != 0x80:
            return position
    return end


def _utf16_without_mark(sample: bytes) -> str:
    if len(sample) < 4 or b"\x00" not in sample:
        return ""
    half = len(sample) // 2
    even, odd = sample[: half * 2 : 2].count(0), sample[1 : half * 2 : 2].count(0)
    if odd > 0.4 * half and even < 0.05 * half:
        return "utf-16-le"
    if even > 0.4 * half and odd < 0.05 * half:
        return "utf-16-be"
    return ""


def _legacy_encoding(data: bytes) -> str:
    sample = data[:_SAMPLE]
    high = len(sample) - len(sample.translate(None, _HIGH))
    if high > _MANY_HIGH_BYTES * len(sample):
        # Imported here: few documents need it, and every start of the parser would pay for it.
        from charset_normalizer import from_bytes

        best = from_bytes(sample).best()
        if best is not None:
            return best.encoding
    return "cp1252"
