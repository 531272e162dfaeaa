"""Tell what a user's model raises as an error of that model, and an allocation that failed as what it is."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from profiler.errors import CaptureError, ModelError, StageplanError, one_line
from profiler.machine.memory import free_to_this_process

_NO_MEMORY = re.compile(r"can't allocate memory|cannot allocate memory|not enough memory|out of memory", re.IGNORECASE)
_WANTED = re.compile(r"tried to allocate (\d+) bytes")


@contextmanager
def blaming(model: str) -> Iterator[None]:
    """Tell whatever a training step of ``model`` raises as an error of that model."""
    try:
        yield
    except StageplanError:
        raise
    except Exception as error:
        raise shortage(error, f"a training step of model '{model}'") or CaptureError(
            f"model '{model}' raised in its training step: {type(error).__name__}: {one_line(error)}; train it uncut "
            "to find the cause"
        ) from error


def shortage(error: BaseException, what: str, remedy: str = "use a smaller --batch-size") -> ModelError | None:
    """Return the error that says that memory ran out, where that is what ``error`` says; None for any other.

    Args:
        error: What was raised.
        what: What wanted the memory, such as a layer.
        remedy: What to do about it.
    """
    if not (isinstance(error, MemoryError) or _NO_MEMORY.search(str(error))):  # as torch.OutOfMemoryError says
        return None
    asked = _WANTED.search(str(error))
    wanted = f"{int(asked[1]) >> 20} MiB more" if asked else "more"
    free, whose = free_to_this_process()
    return ModelError(f"memory ran out: {what} wants {wanted}, and {whose} has {free >> 20} MiB free; {remedy}")
