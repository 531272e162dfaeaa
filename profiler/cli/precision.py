"""Refuse bfloat16 where nothing multiplies it, and say so where it was only to be tried."""

from dataclasses import replace

from profiler.cli.console import note
from profiler.errors import ConfigError
from profiler.profile import AUTO, BF16, FP32
from profiler.settings import Config

NO_INSTRUCTIONS = "this core has neither AMX nor AVX-512-BF16, so bfloat16 takes it longer than float32"


def settled_precision(config: Config, *, quiet: bool) -> Config:
    """Return ``config`` in float32 where ``auto`` could find nothing faster.

    Raises:
        ConfigError: It asks for bfloat16, which neither this core nor this torch multiplies.
    """
    missing = "" if config.precision == FP32 else _missing()
    if missing and config.precision == BF16:
        raise ConfigError(f"{config.model} cannot run in {BF16} here: {missing}; use --precision {FP32}")
    if missing and config.precision == AUTO:
        note(f"{config.model}: layers run in {FP32}: {missing}", quiet=quiet)
        return replace(config, precision=FP32)
    return config


def _missing() -> str:
    import torch

    from profiler.machine import bfloat16_instructions

    if not bfloat16_instructions():
        return NO_INSTRUCTIONS
    onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not onednn or not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001 - nothing else tells
        return "this torch has no products in bfloat16 for this core, for it lacks oneDNN or is told not to use it"
    return ""
