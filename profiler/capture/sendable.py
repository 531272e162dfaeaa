"""Refuse what cannot be sent to the process of a stage, before one is started."""

import inspect
import io
import pickle
from typing import Any

from torch import Tensor

from profiler.errors import CaptureError, one_line
from profiler.machine import main_file


class _Sender(pickle.Pickler):
    """Pickles everything but tensors, and refuses classes and functions that another process has no file to find in."""

    def persistent_id(self, thing: Any) -> str | None:
        return "tensor" if isinstance(thing, Tensor) else None

    def reducer_override(self, thing: Any) -> Any:
        named = isinstance(thing, type) or inspect.isfunction(thing)
        if named and thing.__module__ == "__main__" and main_file() is None:
            raise pickle.PicklingError(
                f"{thing.__qualname__} was defined in a notebook or at a prompt, where no other process can find it; "
                "put it into a file and import it"
            )
        return NotImplemented


def refuse_unsendable(thing: Any, what: str) -> None:
    """Refuse what cannot be sent to the process of a stage.

    Raises:
        CaptureError: It cannot.
    """
    try:
        _Sender(io.BytesIO()).dump(thing)
    except Exception as error:
        raise CaptureError(
            f"{what} cannot be sent to the process of a stage: {one_line(error)}; leave out hooks, lambdas "
            "and parametrizations, and define classes and functions at the top of a file"
        ) from error
