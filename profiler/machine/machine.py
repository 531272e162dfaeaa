"""Say where a profile comes from: this machine, the software on it, and how one machine differs from another."""

import dataclasses
import importlib.metadata
import importlib.util
import os
import platform
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import psutil

from profiler.profile import Machine

KEEP_BYTES = 1 << 30
"""How much freed memory malloc keeps in a process that times or runs layers."""
T = TypeVar("T")
_CPU = Path("/sys/devices/system/cpu")


def this_machine() -> Machine:
    """Describe this machine, its software and the settings that timing and running use."""
    return Machine(
        cpu=_cpu_model(),
        physical_cores=psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        logical_cores=psutil.cpu_count() or 1,
        instructions=_instructions(),
        caches=_caches(),
        memory_bytes=psutil.virtual_memory().total,
        python=platform.python_version(),
        torch=importlib.metadata.version("torch"),
        torch_build=_torch_build(),
        torchvision=importlib.metadata.version("torchvision"),
        allocator=f"{' '.join(platform.libc_ver())} malloc, {KEEP_BYTES >> 20} MiB kept",
        settings="one core, one thread, denormals flushed, channels last",
        environment=settings_at_start(),
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


def _caches() -> tuple[str, ...]:
    """Return the caches that the first core reaches, such as ``L2 1024K``; none where the kernel does not say."""
    caches = []
    for folder in sorted(_CPU.glob("cpu0/cache/index*")):
        try:
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            caches.append(f"L{level} {size}")
    return tuple(caches)


def _torch_build() -> str:
    """Return which build of torch this is, without importing it; nothing where it does not say."""
    torch = importlib.util.find_spec("torch")
    version = Path(torch.origin).with_name("version.py") if torch and torch.origin else None
    if version is None or not version.is_file():
        return ""
    said = runpy.run_path(str(version))
    kind = "debug" if said.get("debug") else "release"
    return f"git {str(said.get('git_version'))[:12]}, {kind}, CUDA {said.get('cuda')}"


def _instructions() -> str:
    """Return the widest vector instructions of the processor that torch has kernels for, and those for bfloat16."""
    flags = _cpu_says("flags", "Features").split()
    widest = next((name for name in ("avx512f", "avx2", "sve", "asimd") if name in flags), "")
    return " ".join(filter(None, [widest, bfloat16_instructions()]))


def bfloat16_instructions() -> str:
    """Return the processor's instructions that multiply bfloat16; nothing where it has none."""
    flags = _cpu_says("flags", "Features").split()
    return next((name for name in ("amx_bf16", "avx512_bf16", "bf16") if name in flags), "")


def affinity_variables() -> str:
    """Return the environment variables that bind threads to cores, in brackets; nothing where none is set."""
    settings = [f"{name}={os.environ[name]}" for name in BINDING if os.environ.get(name)]
    return f" ({', '.join(settings)})" if settings else ""


BINDING = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY", "OMP_PROC_BIND", "OMP_PLACES")
"""Environment variables with which a threading library binds threads, and with them the process, to cores."""
_ONEDNN = ("MAX_CPU_ISA", "CPU_ISA_HINTS", "DEFAULT_FPMATH_MODE", "PRIMITIVE_CACHE_CAPACITY", "VERBOSE")
SETTINGS = frozenset((
    "LD_PRELOAD",  # another malloc, or another OpenMP
    # malloc; its thresholds for mmap and trimming are not here, for ``set_malloc`` sets them
    "GLIBC_TUNABLES", "MALLOC_ARENA_MAX", "MALLOC_ARENA_TEST", "MALLOC_CHECK_", "MALLOC_CONF", "MALLOC_MMAP_MAX_",
    "MALLOC_PERTURB_", "MALLOC_TOP_PAD_", "THP_MEM_ALLOC_ENABLE",
    # which kernels run, and what they print or look up at each call
    "ATEN_CPU_CAPABILITY", "LRU_CACHE_CAPACITY", "TORCH_LINEAR_FLATTEN_3D", "TORCH_MKLDNN_MATMUL_MIN_DIM",
    "TORCH_MKLDNN_MATMUL_MIN_SIZE", "MKL_CBWR", "MKL_DISABLE_FAST_MM", "MKL_ENABLE_INSTRUCTIONS", "MKL_VERBOSE",
    "OPENBLAS_CORETYPE", *(f"{library}_{name}" for library in ("ONEDNN", "DNNL") for name in _ONEDNN),
    # how long idle threads of OpenMP spin beside the one that is timed, and where a library moves that to
    "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", *BINDING,
))  # fmt: skip
"""The environment variables that change how fast layers run.

How many threads there are (``OMP_NUM_THREADS``, ``MKL_NUM_THREADS``, ``OMP_DYNAMIC``) is not among them, for ``pin``
sets it; nor what a library prints once, keeps for debugging or may be loaded beside (``OMP_DISPLAY_ENV``,
``TORCH_LOGS``, ``KMP_DUPLICATE_LIB_OK``).
"""
_AT_THE_START = Path("/proc/self/environ")


def settings_at_start(source: Path = _AT_THE_START) -> tuple[str, ...]:
    """Return the variables of ``SETTINGS`` as ``NAME=value``, as they stood when this process was started.

    The kernel keeps the environment of the start. ``os.environ`` is no witness: the modules of a user's model and data
    write to it when they are imported, which is sooner in one command than in another, and later than the C library
    and most others have read theirs. What a script sets before it imports torch is not seen here; that script is in
    the same state each time.
    """
    return tuple(f"{name}={value}" for name, value in sorted(_variables(source)) if name in SETTINGS)


def _variables(source: Path) -> Iterator[tuple[str, str]]:
    try:
        entries = os.fsdecode(source.read_bytes()).split("\0")
    except OSError:  # the kernel shows it to nobody
        yield from os.environ.items()
        return
    for entry in entries:
        name, _, value = entry.partition("=")
        yield name, value
