"""Profiles that tell of bfloat16, too."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from profiler.profile import CopyCost, Lowered, Profile


def with_lower(
    profile: Profile,
    forward_ms: Sequence[float],
    cast_ms: float = 0.0,
    *,
    casting: Collection[str] | None = None,
) -> Profile:
    """The profile with layers that take so long in bfloat16; those of ``casting``, all without any, cast weights."""
    layers = tuple(
        replace(
            layer,
            forward_s=time / 1e3,
            backward_s=0.0,
            update_s=0.0,
            output_bytes=layer.output_bytes // 2,
            gradient_bytes=layer.gradient_bytes // 2,
            autocast=True,
            cast_bytes=min(50, layer.saved_bytes) if casting is None or layer.name in casting else 0,
        )
        for layer, time in zip(profile.layers, forward_ms, strict=True)
    )
    lowered = Lowered(
        layers=layers,
        loss=profile.loss,
        cast_cost=CopyCost(sizes_bytes=(1, 1 << 40), copy_s=(cast_ms / 1e3, cast_ms / 1e3)),
        whole_step_s=sum(forward_ms) / 1e3,
        whole_step=profile.whole_step,
        closure_error=0.0,
        peak_memory_bytes=1000,
    )
    return replace(profile, lowered=lowered)
