"""Weight versions in a ring of buffers: none is ever copied or restored.

Forward binds the version that the schedule says; backward uses the tensors that its graph already holds, so it runs on
the version that its forward ran on. An update reads the newest version and the gradients of its minibatches and writes
the next version into the next slot of the ring. How large the ring has to be follows from the schedule alone
(``optimizer.schedule.stage_requirements``): a slot may be written again when no minibatch in flight holds what is in
it. With one slot the update writes in place.

Source: weight stashing after Narayanan et al., "PipeDream", SOSP 2019, section 3.3.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from profiler.execution.autocast import forget_casts, in_float32
from profiler.execution.gradient_place import LARGE_BYTES, GradientPlace, cast_place, give_place, keep_cast
from profiler.execution.graph import storage_of
from profiler.execution.segment import Place
from profiler.execution.split_backward import Later, Left, let_leave
from profiler.execution.weight_update import Moments, norm_scale, write_next
from profiler.settings import LearningRate, UpdateRule


def moment_name(path: str, number: int) -> str:
    """Return the name of a parameter's moment among the tensors that training goes on from."""
    return f"{path}@{number}"


def count_name(path: str) -> str:
    """Return the name of the number of updates that a parameter has had."""
    return f"{path}@count"


class WeightVersions:
    """The parameters of one segment in a ring of versions, bound to its modules version by version."""

    def __init__(
        self,
        places: Sequence[Place],
        learning: Sequence[str],
        initial: Mapping[str, Tensor],
        slots: int,
        rule: UpdateRule,
        *,
        newest: int = 0,
        learning_rate: LearningRate | None = None,
    ) -> None:
        """Take over the tensors in ``initial`` as version ``newest``; further versions are allocated.

        So are moments that ``initial`` does not have.

        Args:
            places: Where parameters and buffers are bound.
            learning: Paths of the parameters that learn; all others are bound once and for all.
            initial: Parameters and buffers by path; where training goes on, moments and counts by
                ``moment_name`` and ``count_name``.
            slots: How many versions the ring holds.
            rule: The update rule.
            newest: How many updates there have been.
            learning_rate: The learning rate of each update; None: the rule's, for all.
        """
        self.slots, self.rule, self.newest = slots, rule, newest
        self._bound: int | None = None
        self._gradient_places: dict[str, GradientPlace] = {}
        self._learning_rate = learning_rate
        self.attributes: dict[str, Tensor] = {}
        self._places = [place for place in places if place.path in set(learning)]
        self._tensors = [
            {path: initial[path].detach() if held else torch.zeros_like(initial[path]) for path in learning}
            for held in (slot == newest % slots for slot in range(slots))
        ]
        self._ring = [{path: nn.Parameter(tensor) for path, tensor in tensors.items()} for tensors in self._tensors]
        self._moments = {path: _moments_in(initial, path, rule) for path in learning}
        self.constants = {place.path: initial[place.path] for place in places if place.path not in set(learning)}
        for place in places:
            if place.path in self.constants:
                self._attach(place, initial[place.path])

    def place_gradients(self, paths: Iterable[str]) -> None:
        """Give the large of these weights one place for their gradient in all versions; an update drops it at once.

        Args:
            paths: ``Segment.placeable``; those that do not learn are left out.
        """
        for path in paths:
            weight = self._tensors[0].get(path)
            if weight is not None and weight.nbytes >= LARGE_BYTES and weight.dtype == torch.float32:
                self._gradient_places[path] = GradientPlace(weight)
                for parameters in self._ring:
                    give_place(parameters[path], self._gradient_places[path])

    def leave_gradients(self, paths: Iterable[str]) -> Later:
        """Let layers leave the gradients of their parameters for later; ``paths`` are ``Segment.separable``."""
        later = Later()
        self._let_leave(paths, later)
        return later

    @contextmanager
    def leaving(self, paths: Iterable[str]) -> Iterator[list[Left]]:
        """Let backwards leave the gradients of these layers in the list that is yielded."""
        with self.leave_gradients(paths).leaving() as left:
            try:
                yield left
            finally:
                self._let_leave(paths, None)

    def _let_leave(self, paths: Iterable[str], later: Later | None) -> None:
        """Have the gradients of these parameters, in every version, left to ``later``; None: not."""
        for path in paths:
            for parameters in self._ring if path in self._tensors[0] else ():
                let_leave(parameters[path], later)

    def bind(self, version: int | None = None) -> int:
        """Let the modules compute with a version, the newest if none is named, and return its number."""
        bound = self.newest if version is None else version
        if bound != self._bound:
            forget_casts()
            self._bound = bound
        parameters = self._ring[bound % self.slots]
        for place in self._places:
            self._attach(place, parameters[place.path])
        return bound

    def update(self, used: int, scale: Tensor | None = None) -> int:
        """Write the next version from the newest one and the gradients of version ``used``, which are dropped.

        Args:
            used: On which version the gradients were computed.
            scale: What to multiply them by; None: nothing, or by the norm of these where the rule bounds it.

        Returns:
            The number of the version that is now the newest.
        """
        self.write(used, self._tensors[0], scale)
        return self.advance()

    @torch.no_grad()
    def norms(self, used: int, paths: Iterable[str]) -> dict[str, Tensor]:
        """Return the norms of the gradients of version ``used``, of those of ``paths`` that have one."""
        gradients = self.gradients(used)
        return {path: torch.linalg.vector_norm(gradients[path]) for path in paths if path in gradients}

    @torch.no_grad()
    def write(self, used: int, paths: Iterable[str], scale: Tensor | None = None, *, in_place: bool = False) -> None:
        """Do the part of an update that belongs to the parameters ``paths``; ``advance`` follows the last part.

        Args:
            used: The version whose gradients are taken.
            paths: The parameters.
            scale: What gradients are multiplied by; None: what the rule's bound of their norm says.
            in_place: Whether to overwrite the newest version, as a ring of one does.
        """
        slot = (self.newest if in_place else self.newest + 1) % self.slots
        if self.rule.clip_norm and scale is None:
            scale = norm_scale(list(self.norms(used, paths).values()), self.rule.clip_norm)
        held, following = self._ring[used % self.slots], self._tensors[slot]
        current = self._tensors[self.newest % self.slots]
        rule = self.rule if self._learning_rate is None else replace(self.rule, lr=self._learning_rate(self.newest))
        for path in paths:
            given, place = self._gradient(path, held[path]), self._gradient_places.get(path)
            gradient = given if given is None or scale is None else in_float32(given) * scale
            out, moments, parameter = following[path], self._moments[path], self._ring[slot][path]
            cast = cast_place(parameter) if place and place.autocast and out.is_contiguous() else None
            write_next(rule, current[path], gradient, moments, out=out, cast=cast)
            if cast is not None and gradient is not None:
                keep_cast(parameter, cast)
            self._drop(path, held[path])

    def _gradient(self, path: str, parameter: nn.Parameter) -> Tensor | None:
        place = self._gradient_places.get(path)
        return parameter.grad if place is None or place.lower is None else place.lower

    def advance(self) -> int:
        """Let what was written be the newest version, and return its number."""
        self.newest += 1
        return self.newest

    def gradients(self, used: int) -> dict[str, Tensor]:
        """Return the gradients that minibatches on version ``used`` have left so far, by path."""
        ring = self._ring[used % self.slots]
        lower = {path: place.lower.float() for path, place in self._gradient_places.items() if place.lower is not None}
        return lower | {path: parameter.grad for path, parameter in ring.items() if parameter.grad is not None}

    def keep_gradients(self, used: int, received: Iterable[Tensor]) -> None:
        """Copy what lies in memory that was ``received``, and is filled anew before the next update."""
        places = {storage_of(tensor) for tensor in received}
        for parameter in self._ring[used % self.slots].values():
            if parameter.grad is not None and storage_of(parameter.grad) in places:
                parameter.grad = parameter.grad.clone()

    def give_gradients(self, used: int, gradients: Mapping[str, Tensor]) -> None:
        """Give weight version ``used`` its gradients back."""
        for path, gradient in gradients.items():
            self._drop(path, self._ring[used % self.slots][path])
            self._ring[used % self.slots][path].grad = gradient

    def drop_gradients(self) -> None:
        """Forget all gradients, as after a warm-up."""
        for parameters in self._ring:
            for path, parameter in parameters.items():
                self._drop(path, parameter)

    def _drop(self, path: str, parameter: nn.Parameter) -> None:
        parameter.grad = None
        if path in self._gradient_places:
            self._gradient_places[path].lower = None

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the parameters of the newest version by path."""
        return self._tensors[self.newest % self.slots]

    def state(self) -> dict[str, Tensor]:
        """Return all that training goes on from: parameters of the newest version, buffers, moments and counts."""
        moments = {
            moment_name(path, number): moment
            for path, own in self._moments.items()
            for number, moment in enumerate(own.tensors)
        }
        counts = {count_name(path): torch.tensor(own.count) for path, own in self._moments.items()}
        return dict(self.tensors()) | self.constants | moments | counts

    def _attach(self, place: Place, tensor: Tensor) -> None:
        """Put a parameter, a buffer or another tensor where the model reads it."""
        if place.module is None:
            self.attributes[place.local] = tensor
        elif isinstance(tensor, nn.Parameter):
            place.module._parameters[place.local] = tensor  # noqa: SLF001 - rebinding is what versions are about
        elif place.local in place.module._buffers:  # noqa: SLF001
            place.module._buffers[place.local] = tensor  # noqa: SLF001
        else:
            place.module._parameters[place.local] = nn.Parameter(tensor, requires_grad=False)  # noqa: SLF001


def _moments_in(initial: Mapping[str, Tensor], path: str, rule: UpdateRule) -> Moments:
    """Return the moments that training goes on from, as far as there are any."""
    names = [moment_name(path, number) for number in range(rule.momenta)]
    tensors = tuple(initial[name] if name in initial else torch.zeros_like(initial[path]) for name in names)
    return Moments(tensors, int(initial.get(count_name(path), 0)))
