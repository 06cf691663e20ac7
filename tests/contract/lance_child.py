"""What tests of exactly-once writing run elsewhere. Usage: lance_child.py COMMAND ROOT ..."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from lexigram_ray.core.errors import WriteConflictError
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.text_index import ensure_text_index
from lexigram_ray.vectors.writing import replace_documents
from tests.collections_data import SETTINGS, STORE_ID, documents

TRIES = 500


def create(root: str, document: str, times: str) -> None:
    """Create collections at the starting signal, and write one document into each."""
    ready()
    for number in range(int(times)):
        collection = Collections(Path(root)).create(f"c{number}", SETTINGS, STORE_ID)
        write(collection, {document: 3}, "first")
        say(str(number))


def replace(root: str, who: str, times: str) -> None:
    """Replace the documents `a` and `b` again and again, each time by other lengths."""
    collection = Collections(Path(root)).open("docs")
    lengths = random.Random(who)
    ready()
    for number in range(int(times)):
        length = lengths.randint(1, 9)
        write(collection, {"a": length, "b": length}, f"{who}.{number}.{length}")
        say(str(number))


def disturb(root: str, times: str) -> None:
    """Compact and index again and again."""
    collection = Collections(Path(root)).open("docs")
    ready()
    for number in range(int(times)):
        try:
            collection.refresh()
            collection.dataset.optimize.compact_files()
            ensure_text_index(collection)
        except (WriteConflictError, OSError) as error:
            sys.stderr.write(f"{error}\n")
        say(str(number))


def write(collection: Collection, counts: dict[str, int], version: str) -> None:
    """Write documents, starting again from the newest version whenever refused."""
    rows = documents(counts, version)
    for _ in range(TRIES):
        collection.refresh()
        try:
            replace_documents(collection, rows, delete_for=list(counts))
        except WriteConflictError:
            continue
        return
    raise RuntimeError("refused every time")


def ready() -> None:
    """Say so, and wait for the starting signal."""
    say("ready")
    sys.stdin.readline()


def say(line: str) -> None:
    """Tell the parent."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    {"create": create, "replace": replace, "disturb": disturb}[sys.argv[1]](*sys.argv[2:])
