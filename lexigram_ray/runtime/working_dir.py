"""A folder that goes along with a job: whether Ray takes it, seen before it is packed."""

from __future__ import annotations

from pathlib import Path

from lexigram_ray.core.errors import UsageError

MOST_BYTES = 512 * 1024 * 1024
"""Ray keeps a package in one message, which may have so many bytes."""


def check_working_dir(folder: Path, excludes: list[str]) -> None:
    """Check a folder, or a `.zip`, that is to be uploaded.

    Args:
        excludes: Patterns of what stays, besides those of `.gitignore` and `.rayignore`.

    Raises:
        UsageError: It is not there, or too large.
    """
    if folder.is_dir():
        size = _bytes_of(folder, excludes)
    elif folder.is_file() and folder.suffix == ".zip":
        size = folder.stat().st_size
    else:
        raise UsageError(
            f"{folder} is neither a folder nor a .zip", hint="check --working-dir; see `ls`"
        )
    if size >= MOST_BYTES:
        raise UsageError(
            f"{folder} has {size / 2**20:,.0f} MiB, and a cluster takes at most "
            f"{MOST_BYTES / 2**20:.0f} MiB with a job",
            hint="leave --working-dir out and name paths that the cluster's nodes see; or list "
            "what the job does not need in a .rayignore; or pack it as a smaller .zip",
        )


def _bytes_of(folder: Path, excludes: list[str]) -> int:
    # Ray's own walk: what it leaves out is not counted.
    from ray._private import ray_constants
    from ray._private.runtime_env import packaging

    sizes: list[int] = []

    def note(path: Path) -> None:
        if path.is_file():
            sizes.append(path.stat().st_size)

    patterns = [*ray_constants.get_runtime_env_default_excludes(), *excludes]
    packaging._dir_travel(  # pyright: ignore[reportPrivateUsage]
        folder,
        [packaging._get_excludes(folder, patterns)],  # pyright: ignore[reportPrivateUsage]
        note,
        include_gitignore=True,
    )
    return sum(sizes)
