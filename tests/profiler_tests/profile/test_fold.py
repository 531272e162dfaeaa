"""Tables of hundreds of layers: rows are modules, and what they say adds up to what the layers say."""

from dataclasses import replace

import pytest
from strategies import layer, profile

from profiler.profile import INPUT, Profile
from profiler.report import folded


def deep(blocks: int) -> Profile:
    """Layers as a transformer has them: an embedding, blocks of three layers and a function, and a head."""
    made = [replace(layer("tokens"), kind="Embedding")]
    for number in range(blocks):
        made += [
            replace(layer(f"h.{number}.attention.qkv", (1, 2, 1)), kind="Linear"),
            replace(layer(f"h.{number}.attention.view", (0, 0, 0)), kind="view"),
            replace(layer(f"h.{number}.mlp", (3, 4, 1)), kind="Linear"),
            replace(layer(f"h.{number}.add", (1, 0, 0)), kind="add"),
        ]
    made.append(replace(layer("head"), kind="Linear"))
    return profile(made, [(INPUT, "tokens")])


@pytest.mark.parametrize(
    ("blocks", "count", "first", "kind"),
    [
        (12, 38, ["tokens", "h.0.attention", "h.0.mlp", "h.0.add"], "2 layers"),
        (30, 32, ["tokens", "h.0", "h.1"], "4 layers"),
        (60, 3, ["tokens", "h", "head"], "240 layers"),
    ],
)
def test_many_layers_are_shown_by_the_deepest_modules_that_are_few_enough(
    blocks: int, count: int, first: list[str], kind: str
) -> None:
    found = deep(blocks)
    shown = folded(found.layers)
    assert len(shown) == count
    assert [own.name for own in shown][: len(first)] == first
    assert shown[1].kind == kind
    inside = [own.step_s for own in found.layers if own.name.startswith(f"{first[1]}.")]
    assert shown[1].step_s == pytest.approx(sum(inside))
    assert sum(own.step_s for own in shown) == pytest.approx(sum(own.step_s for own in found.layers))
    assert sum(own.saved_bytes for own in shown) == sum(own.saved_bytes for own in found.layers)


def test_a_printed_table_has_the_costliest_modules() -> None:
    found = deep(12)
    largest = sorted(folded(found.layers), key=lambda layer: -layer.step_s)[:10]
    words = str(found).split()
    assert [word for word in words if word.startswith("h.")] == [layer.name for layer in largest]
    assert "Shown: the top 10 of 38 modules of 50 layers" in " ".join(words)
