"""What this machine computes with: CPU cores, bf16, a GPU. Read from files, so it costs nothing."""

from __future__ import annotations

import math
import os
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


def cpu_has_bf16(cpu_info: Path = CPU_INFO) -> bool:
    """Tell whether the CPU multiplies bf16 in hardware; False where that cannot be seen."""
    try:
        with cpu_info.open(encoding="ascii", errors="replace") as lines:
            flags = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return False
    return not BF16_FLAGS.isdisjoint(flags.split())


def has_nvidia_gpu() -> bool:
    """Tell whether an NVIDIA GPU is there and not hidden from this process."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1", "NoDevFiles"):
        return False
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()


def available_cpus(cpu_quota: Path = CPU_QUOTA) -> int:
    """Count the cores that this process may use: its affinity, and its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, _quota(cpu_quota)))


def _quota(cpu_quota: Path) -> int:
    unlimited = 1 << 16
    try:
        limit, period = cpu_quota.read_text(encoding="ascii").split()
        return unlimited if limit == "max" else math.ceil(int(limit) / int(period))
    except (OSError, ValueError):
        return unlimited
