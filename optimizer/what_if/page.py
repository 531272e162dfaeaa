"""Write the page in which cuts are moved: all of it in one file, nothing fetched; or a part of another page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

from optimizer.plan import Plan
from optimizer.what_if.chain import Chain

NOTHING: Mapping[str, Plan] = MappingProxyType({})
_FOLDER = Path(__file__).parent


def what_if_page(
    chain: Chain, cuts: Sequence[int] | None = None, note: str = "", beside: Mapping[str, Plan] = NOTHING
) -> bytes:
    """Return the page of a model.

    Args:
        chain: What it costs.
        cuts: The split that it shows first, as counts of stretches before each cut; None: the best of four stages.
        note: Why it is not the one that is looked for.
        beside: Plans of the model in other forms, such as with layers cut inside, to compare with.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    made = Environment(
        loader=FileSystemLoader(_FOLDER), undefined=StrictUndefined, autoescape=select_autoescape(("html",))
    )
    return (
        made.get_template("what_if.html")
        .render(
            title=f"{chain.model}: what if it were cut elsewhere?",
            style=style(),
            schedule=chain.schedule,
            batch=chain.batch_size,
            minibatches=chain.minibatches,
            part=what_if_part(chain, cuts, note, beside),
            script=script(),
        )
        .encode()
    )


def what_if_part(
    chain: Chain, cuts: Sequence[int] | None = None, note: str = "", beside: Mapping[str, Plan] = NOTHING
) -> str:
    """Return what stands in a page that has ``style`` and ``script``, once for each model.

    Args:
        chain: What the model costs.
        cuts: As above.
        note: As above.
        beside: As above.
    """
    others = [
        {
            "name": name,
            "stages": plan.num_stages,
            "samples_per_s": plan.predicted.promised_samples_per_s,
            "low": plan.predicted.expected.low if plan.predicted.expected else None,
            "high": plan.predicted.expected.high if plan.predicted.expected else None,
            "slowest_s": plan.bottleneck_s,
        }
        for name, plan in beside.items()
    ]
    data = {"chain": asdict(chain), "cuts": list(cuts) if cuts else None, "note": note, "beside": others}
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    without = "<p>This page moves cuts with JavaScript, which is switched off.</p>"
    return f'<div class="what-if">{without}<script type="application/json">{text}</script></div>'


def style() -> str:
    """Return the CSS of the parts."""
    return (_FOLDER / "what_if.css").read_text(encoding="utf-8")


def script() -> str:
    """Return the JavaScript of the parts, to stand behind them."""
    return (_FOLDER / "what_if.js").read_text(encoding="utf-8")
