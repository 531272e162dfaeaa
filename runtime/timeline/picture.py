"""Draw a run: a row for each stage, a bar for each action, and nothing where it waited."""

import io

from optimizer.schedule import KIND_NAMES, Kind
from runtime.results import RunResult

COLOURS: dict[Kind, str] = {"F": "#4c78a8", "B": "#72b7b2", "U": "#f58518"}
_MOST_LABELS = 400


def picture_of(result: RunResult) -> bytes:
    """Return the picture as SVG."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    stages = len(result.stages)
    figure = Figure(figsize=(12, 0.8 + 0.55 * stages), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    zero_s = min(stage.actions[0].start_s for stage in result.stages)
    makespan_s = max(stage.actions[-1].end_s for stage in result.stages) - zero_s
    count = sum(len(stage.actions) for stage in result.stages)
    for number, stage in enumerate(result.stages):
        for kind, colour in COLOURS.items():
            spans = [
                (record.start_s - zero_s, record.end_s - record.start_s)
                for record in stage.actions
                if record.kind == kind
            ]
            axes.broken_barh(spans, (number - 0.4, 0.8), facecolors=colour, edgecolor="white", linewidth=0.3)
        for record in stage.actions:
            wide = record.end_s - record.start_s > makespan_s / 80
            if record.kind != "U" and wide and count <= _MOST_LABELS:
                middle_s = (record.start_s + record.end_s) / 2 - zero_s
                axes.text(middle_s, number, str(record.minibatch), ha="center", va="center", color="white", fontsize=7)
    axes.set_yticks(range(stages), [f"stage {result.name_of(stage)}" for stage in result.stages])
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.set_xlim(0, makespan_s)
    plan = result.plan
    axes.set_title(f"{plan.model}, {plan.schedule}, batch {result.batch_size}: each bar is one minibatch in one stage")
    handles = [Patch(color=colour, label=KIND_NAMES[kind]) for kind, colour in COLOURS.items()]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    target = io.BytesIO()
    with rc_context({"svg.hashsalt": plan.model}):  # names in the file that do not change from call to call
        figure.savefig(target, format="svg", metadata={"Date": None})
    return target.getvalue()
