"""Show whether partitions train what their replays train, a line each."""

from typing import TYPE_CHECKING

from profiler.report import counted
from runtime.results import PartitionVerification, Verification

if TYPE_CHECKING:
    from rich.console import Console


def show_verification(verification: Verification, console: "Console") -> None:
    """Print one line for each partition: identical, or where it parts from its replay."""
    flush = f", an update every {verification.update_every}" if verification.update_every > 1 else ""
    console.print(
        f"{verification.model}, {counted(verification.num_stages, 'stage')}, {verification.schedule}{flush}, "
        f"{verification.channel}: {counted(verification.minibatches, 'minibatch')} in the pipeline and in one process; "
        "behind each, how the sha256 of the weights begins"
    )
    width = max(len(part.name) for part in verification.partitions)
    for part in verification.partitions:
        verdict = "bit-identical: losses, gradients, weights, buffers"
        if part.first_difference:
            verdict = f"DIFFERS: {part.first_difference}"
        verdict += _uncut_words(part)
        console.print(f"{part.name:{width}}  {verdict}  {part.digests.weights[:12]}", soft_wrap=True)


def _uncut_words(part: PartitionVerification) -> str:
    """Return how a split compares with the model itself; nothing where that trains something else."""
    if part.uncut_error is None:
        return ""
    if part.uncut_error == 0:
        return "; so is the uncut model"
    word = "the uncut model agrees within rounding" if part.verified else "the uncut model DIFFERS"
    return f"; {word} (by {part.uncut_error:.1g} at most)"
