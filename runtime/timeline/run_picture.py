"""Draw a run: a row for each stage, a bar for each action, and nothing where it waited."""

from profiler.report import drawing
from runtime.results import RunResult
from runtime.timeline.bars import colour_key, draw_bars, kinds_in

_MOST_LABELS = 400


def picture_of(result: RunResult) -> bytes:
    """Return the picture as SVG."""
    plan, rows = result.plan, result.timeline(result.recorded_minibatches)
    makespan_s = max(row[-1][-1] for row in rows)
    labelled = sum(map(len, rows)) <= _MOST_LABELS
    with drawing(plan.model, 12, 0.8 + 0.55 * len(rows)) as drawn:
        axes = drawn.axes[0]
        draw_bars(axes, rows, [f"stage {stage.stage}" for stage in result.stages])
        for number, row in enumerate(rows if labelled else ()):
            for kind, minibatch, start_s, end_s in row:
                if kind != "U" and end_s - start_s > makespan_s / 80:
                    place = (start_s + end_s) / 2, number
                    axes.text(*place, str(minibatch), ha="center", va="center", color="white", fontsize=7)
        axes.set(xlabel="seconds", xlim=(0, makespan_s))
        axes.set_title(
            f"{plan.model}, {plan.schedule}, batch {result.batch_size}, {result.clock} clock: "
            "each bar is one minibatch in one stage"
        )
        axes.legend(handles=colour_key(kinds_in(rows)), loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return drawn.svg
