"""Turn the names of partitions into plans."""

from collections.abc import Callable, Iterable

from optimizer.errors import PartitionError
from optimizer.plan import Plan
from optimizer.planning.models import Models
from optimizer.planning.planner import Planner
from optimizer.planning.schemes import LOWERED, OPTIMIZED, SLICED, STUDY, Schemes
from profiler.settings import configs_folder, convert, read_mapping


def plan_for(name: str, models: Models, schemes: Schemes) -> Plan:
    """Return the plan of partition ``name``; PartitionError where the model forbids it."""
    planner = models.whole
    if planner.profile.slicing and name != OPTIMIZED:
        raise PartitionError("its layers are cut inside, and all but the best split count layers that are whole")
    if name == STUDY:
        return planner.in_captured_order(STUDY, hand_tuned_cuts(planner))
    if name == SLICED:
        return models.sliced_plan()
    if name == LOWERED:
        return models.lowered_plan()
    return planner.optimized() if name == OPTIMIZED else planner.scheme(name, schemes[name])


def plans_for(names: Iterable[str], models: Models, schemes: Schemes, report: Callable[[str], None]) -> dict[str, Plan]:
    """Return the plans of all partitions that the model's cuts allow; a scheme that they do not allow is reported."""
    plans = {}
    for name in names:
        try:
            plans[name] = plan_for(name, models, schemes)
        except PartitionError as error:
            if name == OPTIMIZED and models.best is models.whole:
                raise
            report(f"{models.whole.profile.model}: {name} is left out: {error}")
    return plans


def hand_tuned_cuts(planner: Planner) -> list[int]:
    """Return the model's cuts in ``configs/hand-tuned.yaml``, as counts of layers before them."""
    path = configs_folder() / "hand-tuned.yaml"
    model, entries = planner.profile.model, read_mapping(path)
    if model not in entries:
        raise PartitionError(f"{path} has no cuts for it; known: {', '.join(entries)}")
    names: tuple[str, ...] = convert(entries[model], tuple[str, ...], model)
    if len(names) != planner.stages - 1:
        raise PartitionError(f"those cuts make {len(names) + 1} stages, not {planner.stages}; use --stages 4")
    layers = [layer.name for layer in planner.costs.layers]
    return [layers.index(name) + 1 for name in names]
