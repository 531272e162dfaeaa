"""Draw a schedule's spans as text: a row for each stage, a column for each stretch of time."""

from collections.abc import Sequence

from optimizer.schedule import Span

IDLE = "·"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def gantt_rows(spans: Sequence[Sequence[Span]], column_s: float) -> list[str]:
    """Return a row for each stage: minibatch b runs forward as its last digit, backward as its letter; ``u`` updates.

    Each column shows what runs at its middle, and an action shorter than that has one column all the same.

    Args:
        spans: As ``simulate`` gives them.
        column_s: How many seconds a column stands for, above 0.
    """
    return [f"stage {stage} {_row(row, column_s)}" for stage, row in enumerate(spans)]


def _row(spans: Sequence[Span], column_s: float) -> str:
    last = round(max((span.end_s for span in spans), default=0.0) / column_s)
    cells = [IDLE] * last
    for span in sorted(spans, key=lambda span: span.start_s - span.end_s):  # the shortest last, over its neighbours
        start, end = (round(time_s / column_s) for time_s in (span.start_s, span.end_s))
        start = min(start, last - 1)
        cells[start : max(end, start + 1)] = [_sign(span)] * max(1, end - start)
    return "".join(cells)


def _sign(span: Span) -> str:
    number = span.action.minibatch
    return {"F": str(number % 10), "B": _LETTERS[number % 26], "U": "u"}[span.action.kind]
