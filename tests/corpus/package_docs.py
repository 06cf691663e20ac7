"""Gather the documentation of the Python packages installed here: what `make demo` ingests.

Usage: python tests/corpus/package_docs.py FOLDER

Licences, READMEs and guides are linked, not copied. A package's README is kept by pip only inside
its METADATA, as the body of a mail: that body is written to a file of its own.
"""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePath

SUFFIXES = {".md", ".rst", ".txt", ".html", ".pdf"}
NAMES = ("readme", "licen", "copying", "notice", "authors", "changelog", "changes", "history")
FOLDERS = {"licenses", "license_files", "doc", "docs"}
README_SUFFIXES = {"text/markdown": ".md", "text/x-rst": ".rst"}
SMALLEST_README = 200


def main() -> int:
    """Gather into the folder that is named on the command line."""
    if len(sys.argv) != 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    found = sum(gather(package, target) for package in distributions())
    sys.stdout.write(f"gathered {found} documents of the installed packages in {target}\n")
    return 0


def gather(package: Distribution, target: Path) -> int:
    """Put one package's documents below `target`, and return how many there are."""
    folder = target / package.name
    found = write_readme(package, folder)
    for file in filter(wanted, package.files or ()):
        document = Path(str(package.locate_file(file)))
        if document.is_file():
            link(folder / file, document)
            found += 1
    return found


def wanted(file: PurePath) -> bool:
    """Whether a file of a package is for people to read."""
    name = file.name.lower()
    is_text = file.suffix.lower() in SUFFIXES or "." not in name
    in_docs = bool(FOLDERS.intersection(part.lower() for part in file.parts[:-1]))
    return (
        ".." not in file.parts
        and is_text
        and (name.startswith(NAMES) or (in_docs and bool(file.suffix)))
    )


def link(path: Path, document: Path) -> None:
    """Make `path` a link to `document`, whatever was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(document.resolve())


def write_readme(package: Distribution, folder: Path) -> int:
    """Write the README that is kept in METADATA, and return how many that makes."""
    text = package.metadata.get_payload()
    if not isinstance(text, str) or len(text) < SMALLEST_README:
        return 0
    kind = str(package.metadata.get("Description-Content-Type", "")).partition(";")[0].strip()
    folder.mkdir(parents=True, exist_ok=True)
    readme = folder / f"README{README_SUFFIXES.get(kind, '.txt')}"
    # An unchanged file must keep its time stamp, or the next run would read it again.
    if not readme.is_file() or readme.read_text(encoding="utf-8") != text:
        readme.write_text(text, encoding="utf-8")
    return 1


if __name__ == "__main__":
    sys.exit(main())
