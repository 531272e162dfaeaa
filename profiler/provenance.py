"""Say where a profile comes from: this machine, the software on it, and how one machine differs from another."""

import dataclasses
import os
import platform
from pathlib import Path

import psutil

from profiler.types import Machine

ENVIRONMENT = (
    "LD_PRELOAD",
    "GLIBC_",
    "MALLOC_",
    "OMP_",
    "KMP_",
    "GOMP_",
    "MKL_",
    "ONEDNN_",
    "DNNL_",
    "ATEN_",
    "TORCH_",
)
"""Beginnings of the names of environment variables that change how fast layers run."""
_CPU = Path("/sys/devices/system/cpu")


def machine() -> Machine:
    """Describe this machine, its software and the settings that timing and running use."""
    import torch
    import torchvision

    from profiler.process import KEEP_BYTES

    return Machine(
        cpu=_cpu_model(),
        physical_cores=psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        logical_cores=psutil.cpu_count() or 1,
        caches=_caches(),
        memory_bytes=psutil.virtual_memory().total,
        python=platform.python_version(),
        torch=str(torch.__version__),
        torch_build=_build(torch.__config__.show(), torch.backends.cpu.get_cpu_capability()),
        torchvision=str(torchvision.__version__),
        allocator=f"{' '.join(platform.libc_ver())} malloc, {KEEP_BYTES >> 20} MiB kept",
        settings="one core, one thread, denormals flushed",
        environment=tuple(
            f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(ENVIRONMENT)
        ),
    )


def differences(there: Machine, here: Machine) -> list[str]:
    """Return in words what of the machine ``there`` is different ``here``."""
    return [
        f"{field.name.replace('_', ' ')} {_said(before)} there, {_said(now)} here"
        for field in dataclasses.fields(Machine)
        if (before := getattr(there, field.name)) != (now := getattr(here, field.name))
    ]


def _said(value: object) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _caches() -> tuple[str, ...]:
    """Return the caches that the first core reaches, such as ``L2 1024K``; none where the kernel does not say."""
    found = []
    for folder in sorted(_CPU.glob("cpu0/cache/index*")):
        try:
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            found.append(f"L{level} {size}")
    return tuple(found)


def _build(configuration: str, capability: str) -> str:
    """Return the lines of torch's configuration that decide which kernels run."""
    kept = [line.strip(" -") for line in configuration.splitlines()]
    kept = [line for line in kept if line.startswith(("GCC", "clang", "Intel(R) oneAPI", "Intel(R) MKL-DNN", "OpenMP"))]
    return "; ".join([*kept, capability])
