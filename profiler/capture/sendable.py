"""Refuse what cannot be sent to the process of a stage, before one is started."""

import ast
import inspect
import io
import pickle
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from profiler.errors import CaptureError, one_line
from profiler.machine import main_file

_DEFINITIONS = (ast.ClassDef, ast.FunctionDef)


class _Sender(pickle.Pickler):
    """Pickles everything but tensors, and refuses classes and functions that another process has no file to find in."""

    def persistent_id(self, thing: Any) -> str | None:
        return "tensor" if isinstance(thing, Tensor) else None

    def reducer_override(self, thing: Any) -> Any:
        if (isinstance(thing, type) or inspect.isfunction(thing)) and thing.__module__ == "__main__":
            script = main_file()
            if script is None:
                raise pickle.PicklingError(
                    f"{thing.__qualname__} was defined in a notebook or at a prompt, where no other process can find "
                    "it; put it into a file and import it"
                )
            if thing.__qualname__.partition(".")[0] in _guarded(script):
                raise pickle.PicklingError(
                    f"{thing.__qualname__} is defined under the 'if __name__ == \"__main__\":' of {script.name}, which "
                    "other processes pass over"
                )
        return NotImplemented


@cache
def _guarded(script: Path) -> frozenset[str]:
    """Return the classes and functions that a script defines only where it is the main one."""
    statements = ast.parse(script.read_bytes()).body
    guards = [own for own in statements if isinstance(own, ast.If) and "__name__" in ast.unparse(own.test)]
    return frozenset(own.name for guard in guards for own in guard.body if isinstance(own, _DEFINITIONS))


def make_sendable(model: nn.Module) -> None:
    """Let modules with parametrizations, such as a weight norm, be pickled, which torch leaves to ``state_dict``.

    Each has a class of its own, which no other process finds; there it is made again. A copy of a model shares that
    class with it, so what is changed is a copy of the class.
    """
    for module in model.modules():
        if parametrize.is_parametrized(module):
            kind = type(module)
            own = dict(vars(kind)) | {"__reduce_ex__": _reduced, "__getstate__": vars}
            module.__class__ = type(kind.__name__, kind.__bases__, own)


def _reduced(module: nn.Module, _protocol: object) -> tuple[Any, ...]:
    """Reduce a module, without what torch hooks into its loading for checkpoints of before parametrizations."""
    hooks = module._load_state_dict_pre_hooks  # noqa: SLF001 - torch has no other name for it
    kept = {
        key: hook
        for key, hook in hooks.items()
        if not getattr(getattr(hook, "hook", hook), "__module__", "").startswith("torch.")
    }
    state = vars(module) | {"_load_state_dict_pre_hooks": type(hooks)(kept)}
    return _parametrized, (type(module).__bases__[0],), state


def _parametrized(kind: type[nn.Module]) -> nn.Module:
    """Return a module of ``kind`` without attributes, which gets its own class as soon as it has them."""
    bare: nn.Module = kind.__new__(kind)

    class Own(kind):  # type: ignore[valid-type, misc]
        def __setstate__(self, state: dict[str, Any]) -> None:
            own: dict[str, Any] = self.__dict__
            own.update(state)
            self.__class__ = kind  # type: ignore[assignment]
            parametrize._inject_new_class(self)  # noqa: SLF001 - as torch's register_parametrization does
            for name in self.parametrizations:
                parametrize._inject_property(self, name)  # noqa: SLF001
            make_sendable(self)

    bare.__class__ = Own
    return bare


def refuse_unfit_parameters(model: nn.Module) -> None:
    """Refuse parameters without values, and hooks of parameters, which a copy of the model silently lacks."""
    for path, parameter in model.named_parameters():
        if nn.parameter.is_lazy(parameter):
            raise CaptureError(f"the parameter '{path}' has no values yet; call the model on one minibatch first")
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):  # noqa: SLF001
            raise CaptureError(
                f"the parameter '{path}' has a hook, which stages would not run; change gradients in a "
                "torch.autograd.Function of the forward, or bound them with clip"
            )


def refuse_unsendable(thing: Any, what: str) -> None:
    """Refuse what cannot be sent to the process of a stage."""
    try:
        _Sender(io.BytesIO()).dump(thing)
    except Exception as error:
        raise CaptureError(
            f"{what} cannot be sent to the process of a stage: {one_line(error)}; leave out hooks, lambdas "
            "and parametrizations, and define classes and functions at the top of a file"
        ) from error
