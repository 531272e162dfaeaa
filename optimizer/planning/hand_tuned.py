"""The partition ``study``: cuts that somebody tuned by hand for one model, named by the layer before each."""

from typing import TYPE_CHECKING

from optimizer.errors import PartitionError
from profiler.errors import suggest
from profiler.settings import configs_folder, convert, read_mapping

if TYPE_CHECKING:
    from optimizer.planning.planner import Planner


def hand_tuned_cuts(planner: "Planner") -> list[int]:
    """Return the model's cuts in ``configs/hand-tuned.yaml``, as counts of layers before them."""
    path = configs_folder() / "hand-tuned.yaml"
    model, entries = planner.profile.model, read_mapping(path)
    if model not in entries:
        raise PartitionError(f"{path} has no cuts for it; known: {', '.join(entries)}")
    names: tuple[str, ...] = convert(entries[model], tuple[str, ...], model)
    if len(names) != planner.stages - 1:
        raise PartitionError(f"those cuts make {len(names) + 1} stages, not {planner.stages}; use --stages 4")
    layers = [layer.name for layer in planner.costs.layers]
    for name in names:
        if name not in layers:
            raise PartitionError(f"{entries[model].place}: there is no layer '{name}'{suggest(name, layers)}")
    cuts = [layers.index(name) + 1 for name in names]
    illegal = [name for name, cut in zip(names, cuts, strict=True) if cut not in planner.legal_cuts]
    if illegal or cuts != sorted(set(cuts)):
        raise PartitionError(
            f"{entries[model].place}: {', '.join(illegal or names)} cannot be cut behind in this order"
        )
    return cuts
