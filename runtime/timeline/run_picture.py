"""Draw a run: a row for each stage, a bar for each action, and nothing where it waited."""

from optimizer.schedule import KIND_NAMES, Kind
from profiler.report import drawing
from runtime.results import RunResult

COLOURS: dict[Kind, str] = {"F": "#4c78a8", "B": "#72b7b2", "U": "#f58518"}
_MOST_LABELS = 400


def picture_of(result: RunResult) -> bytes:
    """Return the picture as SVG."""
    from matplotlib.patches import Patch

    plan, stages = result.plan, len(result.stages)
    zero_s = min(stage.actions[0].start_s for stage in result.stages)
    makespan_s = max(stage.actions[-1].end_s for stage in result.stages) - zero_s
    labelled = sum(len(stage.actions) for stage in result.stages) <= _MOST_LABELS
    with drawing(plan.model, 12, 0.8 + 0.55 * stages) as drawn:
        axes = drawn.axes[0]
        for number, stage in enumerate(result.stages):
            for kind, colour in COLOURS.items():
                own = [record for record in stage.actions if record.kind == kind]
                spans = [(record.start_s - zero_s, record.end_s - record.start_s) for record in own]
                axes.broken_barh(spans, (number - 0.4, 0.8), facecolors=colour, edgecolor="white", linewidth=0.3)
            for record in stage.actions:
                if record.kind != "U" and labelled and record.end_s - record.start_s > makespan_s / 80:
                    axes.text(
                        (record.start_s + record.end_s) / 2 - zero_s, number, str(record.minibatch), ha="center",
                        va="center", color="white", fontsize=7,
                    )  # fmt: skip
        axes.set_yticks(range(stages), [f"stage {result.name_of(stage)}" for stage in result.stages])
        axes.invert_yaxis()
        axes.set(xlabel="seconds", xlim=(0, makespan_s))
        axes.set_title(
            f"{plan.model}, {plan.schedule}, batch {result.batch_size}, {result.clock} clock: "
            "each bar is one minibatch in one stage"
        )
        handles = [Patch(color=colour, label=KIND_NAMES[kind]) for kind, colour in COLOURS.items()]
        axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return drawn.svg
