"""Write the page in which cuts are moved: all of it in one file, nothing fetched; or a part of another page."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from optimizer.what_if.chain import Chain

_FOLDER = Path(__file__).parent


def what_if_page(chain: Chain, cuts: Sequence[int] | None = None, note: str = "") -> bytes:
    """Return the page of a model.

    Args:
        chain: What it costs.
        cuts: The split that it shows first, as counts of stretches before each cut; None: the best of four stages.
        note: Why it is not the one that is looked for.
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
            part=what_if_part(chain, cuts, note),
            script=script(),
        )
        .encode()
    )


def what_if_part(chain: Chain, cuts: Sequence[int] | None = None, note: str = "") -> str:
    """Return what stands in a page that has ``style`` and ``script``, once for each model.

    Args:
        chain: What the model costs.
        cuts: As above.
        note: As above.
    """
    data = {"chain": asdict(chain), "cuts": list(cuts) if cuts else None, "note": note}
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    without = "<p>This page moves cuts with JavaScript, which is switched off.</p>"
    return f'<div class="what-if">{without}<script type="application/json">{text}</script></div>'


def style() -> str:
    """Return the CSS of the parts."""
    return (_FOLDER / "what_if.css").read_text(encoding="utf-8")


def script() -> str:
    """Return the JavaScript of the parts, to stand behind them."""
    return (_FOLDER / "what_if.js").read_text(encoding="utf-8")
