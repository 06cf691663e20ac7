"""Paths to documents: what lies under the paths of a run, each document once, in stable order.

What a user would not call a document is not read, but said: hidden files and folders (`.git`,
`.venv`, `.DS_Store`), `__pycache__` and `node_modules`, editors' backups and lock files. Each is
one skipped entry with code `ignored`, a folder as a whole. A path that the user names is read,
whatever it is called.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lexigram_ray.core.errors import PathNotAllowedError, UsageError
from lexigram_ray.core.ids import document_id, source_name, source_path
from lexigram_ray.core.types import Failure, FailureCategory, FileStamp, Outcome

_IGNORED_FOLDERS = frozenset({"__pycache__", "node_modules"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A readable, non-empty regular file.

    Attributes:
        path: Resolved, as the operating system names it (may hold surrogate escapes).
        source: What users see.
        document_id: 32 hex digits.
        stamp: What `stat` said of it.
    """

    path: str
    source: str
    document_id: str
    stamp: FileStamp


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanProblem:
    """A file or folder that is skipped or failed before it is opened."""

    source: str
    document_id: str
    outcome: Outcome
    failure: Failure


class Scan:
    """The documents under some paths; iterate it once.

    Args:
        paths: Files and folders as the user gave them.
        allowed_roots: Resolved folders outside of which nothing is read; None allows all.
        document_id: What the caller calls the one file that `paths` names; None for a hash.

    Raises:
        UsageError: One of `paths` does not exist, or is a folder where a file was named.
        PathNotAllowedError: One of `paths` lies outside `allowed_roots`.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        allowed_roots: tuple[Path, ...] | None,
        document_id: str | None = None,
    ) -> None:
        self._allowed = allowed_roots
        self._document_id = document_id
        self._given = tuple(self._checked(path) for path in paths)
        if document_id is not None and any(map(os.path.isdir, self._given)):
            raise UsageError(
                f"the document {document_id!r} is one file, not a folder",
                hint="name a file; `lexigram-ray ingest` takes folders",
            )
        self._folders: set[str] = set()
        self._single_files: set[str] = set()
        self._incomplete: list[str] = []
        self._roots = set(self._given)

    def __iter__(self) -> Iterator[SourceFile | ScanProblem]:
        """Walk the paths, files first, each folder by name; links to folders once."""
        # A file that is named is read, even where the walk of its folder would leave it out.
        for path in sorted(self._given, key=os.path.isdir):
            for item in self._entry(path, explicit=True):
                named = self._document_id
                yield item if named is None else replace(item, document_id=named)

    @property
    def incomplete(self) -> tuple[str, ...]:
        """Folders and given paths of which not all was seen: unreadable, or gone."""
        return tuple(self._incomplete)

    def covers(self, source: str) -> bool:
        """Whether this scan would have met a document, if it were there.

        Args:
            source: A document's source: a resolved path or a `file://` URI.
        """
        path = source_path(source)
        return any(
            path == root or (_is_below(path, root) and not _has_ignored_part(path, root))
            for root in self._roots
        )

    def _checked(self, path: Path) -> str:
        absolute = os.path.abspath(path.expanduser())
        if not os.path.lexists(absolute):
            raise UsageError(f"no such file or folder: {source_name(path)}", hint="check the path")
        resolved = os.path.realpath(absolute)
        check_allowed(resolved, self._allowed)
        # A link that leads nowhere keeps its own name: there is no other.
        return resolved if os.path.exists(resolved) else absolute

    def _is_allowed(self, path: str) -> bool:
        return _lies_within(path, self._allowed)

    def _entry(self, path: str, *, explicit: bool) -> Iterator[SourceFile | ScanProblem]:
        """Yield what is at a path: a file, a link's target, or all of a folder."""
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                link, path = path, os.path.realpath(path, strict=True)
                status = os.stat(path)
                if not self._is_allowed(path):
                    yield _outside(link, path)
                    return
                explicit = True
        except OSError as error:
            if path in self._given or not os.path.islink(path):
                self._incomplete.append(source_name(Path(path)))
            yield _unreachable(path, error)
            return
        if stat.S_ISDIR(status.st_mode):
            if explicit:
                self._roots.add(path)
            yield from self._folder(path)
        elif not explicit or self._is_first_sight(path):
            yield _file(path, status)

    def _is_first_sight(self, path: str) -> bool:
        # Only files met through a link or by name can be met twice: remembering these few is
        # enough, where remembering all would grow with the corpus.
        folder, name = os.path.split(path)
        if path in self._single_files or (folder in self._folders and not _is_ignored(name)):
            return False
        self._single_files.add(path)
        return True

    def _folder(self, top: str) -> Iterator[SourceFile | ScanProblem]:
        # A stack of its own: folders may be nested deeper than Python's calls.
        pending = [top]
        while pending:
            folder = pending.pop()
            if folder in self._folders:
                continue
            self._folders.add(folder)
            try:
                with os.scandir(folder) as entries:
                    children = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                self._incomplete.append(source_name(Path(folder)))
                yield _unlisted(folder, error)
                continue
            below: list[str] = []
            for child in children:
                if child.is_dir(follow_symlinks=False):
                    if _is_ignored_folder(child.name):
                        yield _ignored(child.path)
                    else:
                        below.append(child.path)
                else:
                    yield from self._child(child, below)
            pending.extend(reversed(below))

    def _child(
        self, child: os.DirEntry[str], below: list[str]
    ) -> Iterator[SourceFile | ScanProblem]:
        if child.path in self._single_files:
            return  # It was given by name, and has been met already.
        if _is_ignored(child.name):
            yield _ignored(child.path)
        elif not child.is_symlink():
            yield from self._entry(child.path, explicit=False)
        else:
            target = os.path.realpath(child.path)
            if os.path.isdir(target) and self._is_allowed(target):
                # Walked later from the same stack, so that chains of links do not nest calls.
                self._roots.add(target)
                below.append(target)
            else:
                yield from self._entry(child.path, explicit=False)


def _file(path: str, status: os.stat_result) -> SourceFile | ScanProblem:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a special file")
        return _problem(path, Outcome.SKIPPED, "not_a_file", f"it is {kind}")
    if status.st_size == 0:
        return _problem(path, Outcome.SKIPPED, "empty", "the file is empty")
    if not os.access(path, os.R_OK, effective_ids=True):
        return _unreadable(path, "permission denied")
    resolved = Path(path)
    return SourceFile(
        path=path,
        source=source_name(resolved),
        document_id=document_id(resolved),
        stamp=FileStamp(
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
            inode=status.st_ino,
        ),
    )


_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _problem(
    path: str,
    outcome: Outcome,
    code: str,
    reason: str,
    category: FailureCategory = FailureCategory.INVALID_INPUT,
) -> ScanProblem:
    resolved = Path(path)
    return ScanProblem(
        source=source_name(resolved),
        document_id=document_id(resolved),
        outcome=outcome,
        failure=Failure(category=category, code=code, reason=reason),
    )


def _ignored(path: str) -> ScanProblem:
    name = os.path.basename(path)
    kind = "hidden" if name.startswith(".") else "not a document, by its name"
    return _problem(path, Outcome.SKIPPED, "ignored", f"it is {kind}; name it to ingest it")


def _outside(link: str, target: str) -> ScanProblem:
    reason = f"its link leads to {source_name(Path(target))}, outside the allowed roots"
    return _problem(
        link, Outcome.SKIPPED, "path_not_allowed", reason, category=FailureCategory.PERMANENT
    )


def _unreadable(path: str, why: str) -> ScanProblem:
    return _problem(
        path,
        Outcome.FAILED,
        "unreadable",
        f"it cannot be read: {why}",
        category=FailureCategory.PERMANENT,
    )


def _unreachable(path: str, error: OSError) -> ScanProblem:
    if error.errno == errno.ELOOP:
        return _problem(path, Outcome.SKIPPED, "dangling_link", "its link leads in a circle")
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        if os.path.islink(path):
            return _problem(path, Outcome.SKIPPED, "dangling_link", "its link leads nowhere")
        return _problem(
            path,
            Outcome.SKIPPED,
            "vanished",
            "it was removed during the scan",
            category=FailureCategory.TRANSIENT,
        )
    return _unreadable(path, (error.strerror or str(error)).lower())


def _unlisted(folder: str, error: OSError) -> ScanProblem:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return _problem(
            folder,
            Outcome.FAILED,
            "vanished",
            "the folder was removed during the scan",
            category=FailureCategory.TRANSIENT,
        )
    return _unreadable(folder, (error.strerror or str(error)).lower())


def _is_ignored(name: str) -> bool:
    # Emacs' and vi's backups, Emacs' autosaves, the lock files of LibreOffice and Word.
    return name.startswith((".", "~$")) or name.endswith("~") or (name[0] == name[-1] == "#")


def _is_ignored_folder(name: str) -> bool:
    return name.startswith(".") or name in _IGNORED_FOLDERS


def _has_ignored_part(path: str, root: str) -> bool:
    *folders, name = os.path.relpath(path, root).split(os.sep)
    return _is_ignored(name) or any(_is_ignored_folder(folder) for folder in folders)


def check_allowed(resolved: str | Path, allowed_roots: tuple[Path, ...] | None) -> None:
    """Refuse a resolved path outside of the allowed roots; None allows all.

    Raises:
        PathNotAllowedError: It lies outside of them.
    """
    if not _lies_within(str(resolved), allowed_roots):
        raise PathNotAllowedError(
            f"{source_name(Path(resolved))} lies outside the allowed roots",
            hint="add its folder to allowed_roots",
        )


def _lies_within(path: str, roots: tuple[Path, ...] | None) -> bool:
    return roots is None or any(path == str(root) or _is_below(path, str(root)) for root in roots)


def _is_below(path: str, root: str) -> bool:
    return path.startswith(root if root.endswith(os.sep) else root + os.sep)
