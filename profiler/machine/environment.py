"""Say which settings of the environment change how fast layers run, as they stood when this process was started."""

import os
from collections.abc import Iterator
from pathlib import Path

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
