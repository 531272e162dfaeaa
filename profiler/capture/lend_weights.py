"""Let layers that share a weight be in different stages: the first that uses it lends it to the others.

A weight that is tied, an embedding that is the head, too, has one owner, the first layer that uses it. Behind the owner
stands a layer that hands the weight on as a value, and the other layers read that value. So all of them compute with
the version that the owner's stage uses for a minibatch, their gradients travel with the backward, and autograd adds
them to the owner's before its update, whatever the split; what that costs is what any value costs that crosses a cut.

Lent are weights of linear layers and embeddings, and those that a forward reads itself. Layers of other kinds that
share a weight, such as convolutions, stay together, and so do those that share a buffer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from profiler.execution import Attribute, Functional, Operation, Ref, fetch_attribute, is_plain


def lend(weight: Tensor) -> Tensor:
    """Hand a weight on as a value."""
    return weight.view_as(weight)


def with_lent_weights(model: nn.Module, operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """Return a model's operations with layers that lend weights which several use; the order stays the captured one.

    Args:
        model: Whose they are.
        operations: As they were captured.
    """
    first = {id(own): path for path, own in model.named_parameters()}
    paths = {id(module): f"{path}." if path else "" for path, module in model.named_modules()}
    users: dict[str, list[int]] = {}
    for at, operation in enumerate(operations):
        for own in dict.fromkeys(map(id, _weights(model, operation, paths))):  # in an order that all processes have
            if own in first:
                users.setdefault(first[own], []).append(at)
    made: list[Operation] = list(operations)
    lending: dict[int, list[Operation]] = {}
    taken = {operation.name for operation in operations}
    for path, (owner, *others) in users.items():
        if not others or len(made[owner].attributes()) > 1:
            continue
        name = path if path not in taken else f"{path}.lent"
        borrowing = [one for at in others if (one := _borrowing(made[at], path, name, model, first))]
        if len(borrowing) == len(others):
            for at, borrower in zip(others, borrowing, strict=True):
                made[at] = borrower
            lending.setdefault(owner, []).append(
                Operation(index=0, name=name, kind="Lent", target=lend, args=(Attribute(path),), kwargs={})
            )
    if not lending:
        return tuple(operations)
    ordered = [own for at, operation in enumerate(made) for own in (operation, *lending.get(at, ()))]
    return tuple(replace(operation, index=index) for index, operation in enumerate(ordered))


def _weights(model: nn.Module, operation: Operation, paths: dict[int, str]) -> Iterator[Tensor]:
    """Yield the parameters that a layer uses."""
    for path in operation.attributes():
        yield fetch_attribute(model, path)
    if isinstance(operation.target, nn.Module) and id(operation.target) in paths:
        yield from operation.target.parameters()


def _borrowing(operation: Operation, path: str, name: str, model: nn.Module, first: dict[int, str]) -> Operation | None:
    """Return a layer as it reads a lent weight; None where it is of a kind that cannot."""
    target = operation.target
    prefix = next((own for own, module in model.named_modules() if module is target), None)
    if not isinstance(target, nn.Module):

        def lent(leaf: Any) -> Any:
            own = isinstance(leaf, Attribute) and first.get(id(fetch_attribute(model, leaf.path))) == path
            return Ref(name) if own else leaf

        return operation.with_leaves(lent)
    if (
        prefix is None
        or operation.kwargs
        or len(operation.args) != 1
        or first.get(id(getattr(target, "weight", None))) != path
    ):
        return None
    if is_plain(target, nn.Linear):
        bias = Attribute(f"{prefix}.bias") if target.bias is not None else None
        return replace(operation, target=Functional("linear"), args=(*operation.args, Ref(name), bias))
    if type(target) is nn.Embedding and target.max_norm is None and not target.sparse:
        settings = {"padding_idx": target.padding_idx, "scale_grad_by_freq": target.scale_grad_by_freq}
        return replace(operation, target=Functional("embedding"), args=(*operation.args, Ref(name)), kwargs=settings)
    return None
