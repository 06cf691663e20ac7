"""What this machine computes with: CPU cores, bf16, a GPU. Read from files, so it costs nothing."""

from __future__ import annotations

import ctypes
import functools
import logging
import math
import os
import platform
from importlib import metadata
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
# Older GPUs compute bf16 by way of float32, at a fraction of fp16's speed.
FIRST_CAPABILITY_WITH_BF16 = (8, 0)

logger = logging.getLogger(__name__)


def cpu_has_bf16(cpu_info: Path = CPU_INFO) -> bool:
    """Tell whether the CPU multiplies bf16 in hardware; False where that cannot be seen."""
    return not BF16_FLAGS.isdisjoint(_cpu_flags(cpu_info))


def cpu_lacks_bf16(cpu_info: Path = CPU_INFO) -> bool:
    """Tell whether the CPU is seen not to multiply bf16; False where that cannot be seen."""
    return bool(_cpu_flags(cpu_info)) and not cpu_has_bf16(cpu_info)


def cpu_has_amx(cpu_info: Path = CPU_INFO) -> bool:
    """Tell whether the CPU multiplies bf16 by tiles; False where that cannot be seen."""
    return "amx_bf16" in _cpu_flags(cpu_info)


def cpu_name(cpu_info: Path = CPU_INFO) -> str:
    """Return the CPU's name, as the kernel knows it."""
    return _cpu_fact("model name", cpu_info) or platform.machine()


def has_nvidia_gpu() -> bool:
    """Tell whether an NVIDIA GPU is there and not hidden from this process."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1", "NoDevFiles"):
        return False
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()


def computes_on_gpu() -> bool:
    """Tell whether models run on an NVIDIA GPU here: one is there, and torch was built for it.

    A container without its host's GPU still sees the driver's files: the driver is asked.
    """
    if not has_nvidia_gpu():
        return False
    try:
        built_for_it = "+cpu" not in metadata.version("torch")
    except metadata.PackageNotFoundError:
        return False
    return built_for_it and gpu_capability() is not None


@functools.cache
def gpu_capability() -> tuple[int, int] | None:
    """Return the compute capability of this machine's oldest NVIDIA GPU, such as `(8, 0)`.

    The driver's management library is asked, which makes no CUDA context: this process may still
    fork, and importing torch would take seconds.

    Returns:
        None where there is no GPU, or the driver does not say.
    """
    try:
        return _capability_of_oldest(ctypes.CDLL("libnvidia-ml.so.1"))
    except (OSError, AttributeError) as error:
        logger.debug("the NVIDIA driver cannot be asked: %s", error)
        return None


def half_precision(capability: tuple[int, int] | None) -> str:
    """Return the half precision that a GPU computes fast: `fp16` on old ones, else `bf16`."""
    if capability is not None and capability < FIRST_CAPABILITY_WITH_BF16:
        return "fp16"
    return "bf16"


def threads_for(node_cpus: float, embedders_on_node: int) -> int:
    """Return the CPU cores that each embedder of a node computes on, whatever it has reserved.

    Args:
        node_cpus: The node's cores, as Ray counts them.
        embedders_on_node: How many share them.
    """
    return max(1, int(node_cpus) // max(1, embedders_on_node))


def available_cpus(cpu_quota: Path = CPU_QUOTA) -> int:
    """Count the cores that this process may use: its affinity, and its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, _quota(cpu_quota)))


def _cpu_flags(cpu_info: Path) -> list[str]:
    return _cpu_fact("flags", cpu_info).split()


def _cpu_fact(name: str, cpu_info: Path) -> str:
    try:
        with cpu_info.open(encoding="ascii", errors="replace") as lines:
            line = next((line for line in lines if line.startswith(name)), "")
    except OSError:
        return ""
    return line.partition(":")[2].strip()


def _capability_of_oldest(nvml: ctypes.CDLL) -> tuple[int, int] | None:
    if nvml.nvmlInit_v2():
        return None
    try:
        count = ctypes.c_uint()
        if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return None
        found = (_capability(nvml, index) for index in range(count.value))
        return min((capability for capability in found if capability is not None), default=None)
    finally:
        nvml.nvmlShutdown()


def _capability(nvml: ctypes.CDLL, index: int) -> tuple[int, int] | None:
    device, major, minor = ctypes.c_void_p(), ctypes.c_int(), ctypes.c_int()
    if nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(device)):
        return None
    asked = nvml.nvmlDeviceGetCudaComputeCapability(
        device, ctypes.byref(major), ctypes.byref(minor)
    )
    return None if asked else (major.value, minor.value)


def _quota(cpu_quota: Path) -> int:
    unlimited = 1 << 16
    try:
        limit, period = cpu_quota.read_text(encoding="ascii").split()
        return unlimited if limit == "max" else math.ceil(int(limit) / int(period))
    except (OSError, ValueError):
        return unlimited
