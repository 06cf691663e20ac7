"""The machine that the figures were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import psutil

CPU_INFO = Path("/proc/cpuinfo")
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16")
PACKAGES = ("lexigram-ray", "ray", "openvino", "pylance", "lancedb", "tokenizers", "torch")


def describe_machine() -> dict[str, object]:
    """Return CPU, cores, the instruction sets that matter, memory, and versions."""
    fields = _cpu_fields()
    flags = fields.get("flags", "").split()
    return {
        "cpu": fields.get("model name", platform.processor() or platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in FLAGS if flag in flags],
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def print_machine(machine: dict[str, object]) -> None:
    """Print what `describe_machine` returned, in three lines."""
    versions = machine["versions"]
    assert isinstance(versions, dict)
    flags = machine["flags"]
    assert isinstance(flags, list)
    print(
        f"{machine['cpu']}, {machine['cores']} cores ({' '.join(flags)}), "
        f"{machine['memory_gb']} GB, {machine['system']}, Python {machine['python']}\n"
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}\n"
        f"load before: {machine['load_before']}",
        flush=True,
    )


def has_bf16(machine: dict[str, object]) -> bool:
    """Whether the CPU multiplies bf16 in hardware."""
    flags = machine["flags"]
    return isinstance(flags, list) and not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)


def _cpu_fields() -> dict[str, str]:
    if not CPU_INFO.is_file():
        return {}
    first_core = CPU_INFO.read_text(encoding="utf-8").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first_core.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
