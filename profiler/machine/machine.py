"""Say where a profile comes from: this machine, the software on it, and how one machine differs from another."""

import dataclasses
import importlib.metadata
import platform
from pathlib import Path
from typing import Any, TypeVar, cast

import psutil

from profiler.profile import Machine

KEEP_BYTES = 1 << 30
"""How much freed memory malloc keeps in a process that times or runs layers."""
T = TypeVar("T")


def this_machine() -> Machine:
    """Describe this machine, its software and the settings that timing and running use."""
    return Machine(
        cpu=_cpu_model(),
        physical_cores=psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        logical_cores=psutil.cpu_count() or 1,
        instructions=_instructions(),
        memory_bytes=psutil.virtual_memory().total,
        python=platform.python_version(),
        torch=importlib.metadata.version("torch"),
        torchvision=importlib.metadata.version("torchvision"),
        allocator=f"{' '.join(platform.libc_ver())} malloc, {KEEP_BYTES >> 20} MiB kept",
        settings="one core, one thread, channels last",
    )


def differences(there: T, here: T) -> list[str]:
    """Return in words what of a dataclass, such as the machine ``there``, is different ``here``."""
    return [
        f"{field.name.replace('_', ' ')} {_said(before)} there, {_said(now)} here"
        for field in dataclasses.fields(cast("Any", there))
        if (before := getattr(there, field.name)) != (now := getattr(here, field.name))
    ]


def _said(value: object) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)


def _cpu_model() -> str:
    return _cpu_says("model name") or platform.processor() or platform.machine()


def _cpu_says(*words: str) -> str:
    """Return the value of the first line of /proc/cpuinfo that begins with one of ``words``; nothing without any."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith(words):
            return line.partition(":")[2].strip()
    return ""


def _instructions() -> str:
    """Return the processor's widest vector instructions and those for bfloat16: ``avx2``, ``avx512f amx_bf16``."""
    flags = _cpu_says("flags", "Features").split()
    widest = next((name for name in ("avx512f", "avx2", "sve", "asimd") if name in flags), "")
    return " ".join(filter(None, [widest, bfloat16_instructions()]))


def bfloat16_instructions() -> str:
    """Return the processor's instructions that multiply bfloat16; nothing where it has none."""
    flags = _cpu_says("flags", "Features").split()
    return next((name for name in ("amx_bf16", "avx512_bf16", "bf16") if name in flags), "")
