from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lexigram_ray.core.errors import PathNotAllowedError, UsageError
from lexigram_ray.core.ids import document_id
from lexigram_ray.core.types import FailureCategory, Outcome
from lexigram_ray.ingestion.sources import Scan, ScanProblem, SourceFile


def write(path: Path, text: str = "words") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def scan(*paths: Path, allowed: tuple[Path, ...] | None = None) -> Scan:
    return Scan(list(paths), allowed_roots=allowed)


def files(found: Scan) -> list[str]:
    return [entry.path for entry in found if isinstance(entry, SourceFile)]


def problems(found: Scan) -> dict[str, tuple[Outcome, FailureCategory, str]]:
    return {
        entry.source: (entry.outcome, entry.failure.category, entry.failure.code)
        for entry in found
        if isinstance(entry, ScanProblem)
    }


SKIPPED = (Outcome.SKIPPED, FailureCategory.INVALID_INPUT)


def test_files_come_by_name_and_folders_after_them(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.txt", "a/y/x.txt", "c.txt"):
        write(tmp_path / name)

    assert files(scan(tmp_path)) == [
        str(tmp_path / name) for name in ("b.txt", "c.txt", "a/z.txt", "a/y/x.txt")
    ]


def test_a_file_carries_its_stamp_and_the_id_of_its_path(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt")

    (entry,) = scan(path)

    assert isinstance(entry, SourceFile)
    assert entry.document_id == document_id(path)
    assert entry.source == str(path)
    assert (entry.stamp.size, entry.stamp.inode) == (5, path.stat().st_ino)


def test_a_file_under_several_given_paths_comes_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a" / "b.txt")

    assert files(scan(path, tmp_path, tmp_path / "a", path)) == [str(path)]
    assert files(scan(tmp_path, path)) == [str(path)]


def test_a_linked_file_is_the_document_that_it_leads_to(tmp_path: Path) -> None:
    target = write(tmp_path / "outside" / "real.txt")
    write(tmp_path / "in" / "x.txt")
    (tmp_path / "in" / "one").symlink_to(target)
    (tmp_path / "in" / "two").symlink_to(target)

    assert files(scan(tmp_path / "in")) == [str(target), str(tmp_path / "in" / "x.txt")]


def test_a_link_to_a_file_of_the_same_folder_adds_nothing(tmp_path: Path) -> None:
    write(tmp_path / "m.txt")
    (tmp_path / "a").symlink_to(tmp_path / "m.txt")
    (tmp_path / "z").symlink_to(tmp_path / "m.txt")

    assert files(scan(tmp_path)) == [str(tmp_path / "m.txt")]


def test_links_to_folders_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a" / "x.txt")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")

    found = scan(tmp_path)

    assert list(found) == list(scan(path))
    assert found.incomplete == ()


def test_a_dangling_link_is_skipped_under_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")

    assert problems(scan(tmp_path)) == {str(tmp_path / "gone"): (*SKIPPED, "dangling_link")}
    assert problems(scan(tmp_path / "gone")) == {
        str(tmp_path / "gone"): (*SKIPPED, "dangling_link")
    }


def test_a_link_that_leads_in_a_circle_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")

    assert set(problems(scan(tmp_path)).values()) == {(*SKIPPED, "dangling_link")}


def test_a_fifo_and_a_socket_are_skipped_without_being_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "sock"))
        found = problems(scan(tmp_path))

    assert found == {
        str(tmp_path / "pipe"): (*SKIPPED, "not_a_file"),
        str(tmp_path / "sock"): (*SKIPPED, "not_a_file"),
    }


def test_a_device_named_by_the_user_is_skipped() -> None:
    assert problems(scan(Path("/dev/zero"))) == {"/dev/zero": (*SKIPPED, "not_a_file")}


@pytest.mark.parametrize("name", ["empty.txt", "empty.pdf"])
def test_a_file_of_no_bytes_is_skipped_whatever_its_suffix(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, "")

    assert problems(scan(tmp_path)) == {str(tmp_path / name): (*SKIPPED, "empty")}


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from lexigram_ray.ingestion.sources import Scan

if os.geteuid() == 0:  # the superuser reads everything
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
scan = Scan([Path(sys.argv[1])], allowed_roots=None)
for entry in scan:
    failure = getattr(entry, "failure", None)
    print(entry.source, failure and (failure.category.value, failure.code))
print(scan.incomplete)
"""


def test_what_may_not_be_read_fails_and_leaves_the_scan_incomplete() -> None:
    with tempfile.TemporaryDirectory() as name:
        docs = Path(name).resolve()
        docs.chmod(0o755)
        write(docs / "open.txt")
        secret = write(docs / "secret.txt")
        secret.chmod(0)
        closed = write(docs / "closed" / "x.txt").parent
        closed.chmod(0)

        seen = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, docs], capture_output=True, text=True, check=False
        )
        closed.chmod(0o755)

    assert seen.stdout.splitlines() == [
        f"{docs}/open.txt None",
        f"{secret} ('permanent', 'unreadable')",
        f"{closed} ('permanent', 'unreadable')",
        f"('{closed}',)",
    ], seen.stderr


def test_a_missing_path_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such file or folder: .*missing"):
        scan(write(tmp_path / "a.txt"), tmp_path / "missing")


def test_a_given_path_outside_the_allowed_roots_is_refused_before_any_work(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.txt")
    outside = write(tmp_path / "inner" / "b.txt")

    with pytest.raises(PathNotAllowedError, match="outside the allowed roots"):
        scan(outside, allowed=(tmp_path / "in",))


def test_links_do_not_lead_out_of_the_allowed_roots(tmp_path: Path) -> None:
    inside = write(tmp_path / "in" / "a.txt")
    write(tmp_path / "out" / "b.txt")
    (tmp_path / "in" / "file").symlink_to(tmp_path / "out" / "b.txt")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "out")
    allowed = (tmp_path / "in",)

    assert files(scan(tmp_path / "in", allowed=allowed)) == [str(inside)]
    refused = (Outcome.SKIPPED, FailureCategory.PERMANENT, "path_not_allowed")
    assert problems(scan(tmp_path / "in", allowed=allowed)) == {
        str(tmp_path / "in" / "file"): refused,
        str(tmp_path / "in" / "folder"): refused,
    }


def test_a_folder_that_vanishes_during_the_scan_fails_and_blocks_pruning(tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    doomed = write(tmp_path / "doomed" / "b.txt")
    found = scan(tmp_path)
    entries = iter(found)
    next(entries)

    doomed.unlink()
    doomed.parent.rmdir()
    rest = [entry for entry in entries if isinstance(entry, ScanProblem)]

    assert [(entry.outcome, entry.failure.code) for entry in rest] == [(Outcome.FAILED, "vanished")]
    assert found.incomplete == (str(doomed.parent),)


def test_a_file_that_vanishes_during_the_scan_is_skipped(tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    doomed = write(tmp_path / "b.txt")
    found = scan(tmp_path)
    entries = iter(found)
    next(entries)
    doomed.unlink()

    (entry,) = list(entries)

    assert isinstance(entry, ScanProblem)
    assert (entry.outcome, entry.failure.code) == (Outcome.SKIPPED, "vanished")


def test_hidden_files_and_programs_leftovers_are_said_but_not_read(tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    for name in (".git/HEAD", "__pycache__/m.pyc", ".DS_Store", "a.txt~", "#a.txt#", "~$a.docx"):
        write(tmp_path / name)

    found = problems(scan(tmp_path))

    assert files(scan(tmp_path)) == [str(tmp_path / "a.txt")]
    assert set(found) == {
        str(tmp_path / name)
        for name in (".git", "__pycache__", ".DS_Store", "a.txt~", "#a.txt#", "~$a.docx")
    }
    assert set(found.values()) == {(*SKIPPED, "ignored")}


def test_a_hidden_path_that_the_user_names_is_read(tmp_path: Path) -> None:
    note = write(tmp_path / ".notes" / "x.txt")
    hidden = write(tmp_path / ".plan")

    assert files(scan(tmp_path / ".notes", hidden)) == [str(hidden), str(note)]


def test_a_hidden_file_that_is_named_beside_its_folder_is_read_and_not_skipped(
    tmp_path: Path,
) -> None:
    hidden = write(tmp_path / ".plan")
    found = list(scan(tmp_path, hidden))
    assert [item.source for item in found] == [str(hidden)]
    assert isinstance(found[0], SourceFile)


@pytest.mark.parametrize("name", [b"two\nlines.txt", b"latin-\xe9.txt", b"lone-\xed\xa0\x80.txt"])
def test_odd_file_names_are_found_and_have_a_printable_source(tmp_path: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)
    with open(path, "wb") as file:
        file.write(b"words")

    (entry,) = found = list(scan(tmp_path))

    assert isinstance(entry, SourceFile)
    assert os.fsencode(entry.path) == path
    assert entry.source.encode()
    assert len(found) == 1
    again = scan(tmp_path)
    assert list(again)
    assert again.covers(entry.source)


def test_a_scan_covers_what_lies_under_its_paths_and_the_links_that_it_followed(
    tmp_path: Path,
) -> None:
    write(tmp_path / "in" / "a.txt")
    write(tmp_path / "linked" / "b.txt")
    write(tmp_path / "inner" / "c.txt")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "linked")
    found = scan(tmp_path / "in")
    list(found)

    assert found.covers(str(tmp_path / "in" / "deleted.txt"))
    assert found.covers(str(tmp_path / "linked" / "deleted.txt"))
    assert not found.covers(str(tmp_path / "inner" / "c.txt"))
    assert not found.covers(str(tmp_path / "in" / ".hidden" / "x.txt"))
