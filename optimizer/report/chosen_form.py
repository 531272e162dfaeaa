"""Say in which form a model was planned for, what that gains, and why not in another."""

from collections.abc import Iterable

from optimizer.planning import (
    LOWERED,
    SLICED,
    Forms,
    PrecisionChoice,
    SlicingChoice,
    why_full,
    why_whole,
)
from profiler.profile import BF16, FP32, Form, Precision


def form_sentences(forms: Forms, names: Iterable[str] = (LOWERED,)) -> tuple[list[str], list[str]]:
    """Return what was chosen of precision and slices, and why nothing was chosen.

    These are sentences without a full stop.

    Args:
        forms: What plans for the model.
        names: The partitions that are wanted; without ``sliced``, nothing is said of what is cut in float32 where
            another precision is faster.
    """
    gains: list[str] = []
    reasons: list[str] = []
    if forms.precision:
        words = precision_words(forms.precision, len(forms.whole.profile.layers))
        (gains if forms.lowered else reasons).append(words)
    if forms.lowered and forms.lowered_slicing:
        words = slicing_words(forms.lowered_slicing, forms.lowered.model.form.precision)
        (gains if forms.lowered_slicing.slicing else reasons).append(words)
    if forms.slicing and (not forms.lowered or SLICED in names):
        words = slicing_words(forms.slicing, forms.whole.model.form.precision)
        (gains if forms.slicing.slicing else reasons).append(words)
    return gains, reasons


def slicing_words(choice: SlicingChoice, precision: Precision) -> str:
    """Say which layers are cut inside, what that gains, if that was worked out, and what it costs; or why none is."""
    if not choice.slicing:
        return why_whole(choice)
    model = choice.profile.costs(Form(choice.slicing, precision))
    cut = " and ".join(
        f"{layer} into {pieces[0] if len(pieces) == 1 else len(pieces)} blocks"
        for layer, pieces in choice.slicing.pieces.items()
    )
    whole_s = sum(layer.step_s for layer in model.uncut)
    parts = [layer for layer in model.layers if layer.part_of]
    concat_s = sum(layer.step_s for layer in parts if layer.kind == "Concat")
    narrower_s = sum(layer.step_s for layer in parts) - concat_s - whole_s
    gains = "" if choice.gain is None else f"the slowest stage is {choice.gain:.0%} faster; "
    return (
        f"cut inside: {cut}; {gains}of {whole_s * 1e3:.1f} ms whole, the concat costs {concat_s * 1e3:+.1f} ms and "
        f"narrower products {narrower_s * 1e3:+.1f} ms"
    )


def precision_words(choice: PrecisionChoice, layers: int) -> str:
    """Say how many of a model's ``layers`` run in bfloat16, and what that gains; or why none does."""
    if not choice.precision.lowered:
        return why_full(choice)
    stay = len(choice.precision.in_float32)
    which = f"all {layers} layers run in {BF16}"
    if stay:
        which = f"{layers - stay} of {layers} layers run in {BF16}, {stay} in {FP32}"
    if choice.gain is None:
        return f"{which}: in {FP32} no split keeps the limits"
    return f"{which}: the slowest stage is {choice.gain:.0%} faster than in {FP32}"
