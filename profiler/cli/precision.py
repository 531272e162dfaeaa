"""Refuse bfloat16 where nothing multiplies it, and say so where it was only to be tried."""

from dataclasses import replace

import profiler.execution
import profiler.machine
from profiler.cli.console import note
from profiler.errors import ConfigError
from profiler.profile import AUTO, BF16, FP32
from profiler.settings import Config

NO_INSTRUCTIONS = "this core has neither AMX nor AVX-512-BF16, so bfloat16 takes it longer than float32"


def settled_precision(config: Config) -> Config:
    """Return ``config`` in float32 where ``auto`` could find nothing faster."""
    missing = "" if config.precision == FP32 else _missing()
    if missing and config.precision == BF16:
        raise ConfigError(f"{config.name} cannot run in {BF16} here: {missing}; use --precision {FP32}")
    if missing and config.precision == AUTO:
        note(f"{config.name}: layers run in {FP32}: {missing}")
        return replace(config, precision=FP32)
    return config


def _missing() -> str:
    if not profiler.machine.bfloat16_instructions():
        return NO_INSTRUCTIONS
    return (
        ""
        if profiler.execution.onednn_lowers()
        else "this torch multiplies without oneDNN, or oneDNN is told not to use bfloat16"
    )
