"""Say what casts doubt on a comparison: the one closed list of its warnings, and whether its answer is firm.

Each says first what it means for the figures, then the cause, then the remedy.
"""

import shlex
from dataclasses import dataclass

from profiler.report import counted
from runtime.compare import Comparison, coverage
from runtime.pipeline import noisy, sharing

COVERAGE_WANTED = 0.95
"""What an interval claims where there are rounds enough."""
SAID = ("FEW ROUNDS", "ONE ROUND", "PROVISIONAL")
MARKED = ("NOT COMPARABLE", "NOISY")
"""The doubts that stand beside every figure of a comparison, wherever it is shown."""
FIRM, REMEDY = "FIRM.", " To make it firm: "
CALLED = "stageplan.compare("
"""How the command of a comparison begins that was called from Python."""
_MORE = ("--repeats", "6")


@dataclass(frozen=True, slots=True)
class Doubt:
    """What casts doubt on a comparison.

    Attributes:
        name: In capitals: ``NOISY``.
        sentence: What it means, why, and what to do.
        cause: Why the answer is not firm, in a few words; nothing where it is, be the other figures as they may.
        remedy: The options with which the same command makes it firm; None where none does.
    """

    name: str
    sentence: str
    cause: str = ""
    remedy: tuple[str, ...] | None = ()


def comparison_doubts(comparison: Comparison) -> list[Doubt]:
    """Return what casts doubt on a comparison, the worst first; nothing for a good one."""
    found = []
    request = comparison.request
    if not comparison.comparable:
        remedy = ("--clock", "virtual") if request.channel == "shm" else ("--stages", str(comparison.core_count))
        cause = f"{request.num_stages} stages shared cores, which no prediction is about"
        found.append(_named(sharing(request.num_stages, comparison.core_count), cause, remedy))
    failed = [run for run in comparison.runs if run.failure is not None]
    if failed:
        names = ", ".join(dict.fromkeys(run.name for run in failed))
        runs = "a run" if len(failed) == 1 else f"{len(failed)} runs"
        first = f"first {failed[0].name} in round {failed[0].round}: {failed[0].failure}"
        sentence = f"figures of {names} are of fewer rounds, or there are none: {runs} failed, {first}"
        found.append(Doubt("FAILED", sentence, *_failed(comparison)))
    if not comparison.complete:
        done = f"{comparison.rounds} of {request.repeats} rounds are done"
        found.append(
            Doubt("PROVISIONAL", f"medians may still move, for {done}; the same command goes on.", f"only {done}")
        )
    found += _noise(comparison)
    found += _few_rounds(comparison)
    return [*found, *(Doubt("PROFILE", warning) for warning in comparison.profile_warnings)]


def comparison_warnings(comparison: Comparison) -> list[str]:
    """Return the warnings that a comparison deserves, as sentences; none for a good one."""
    return [f"{doubt.name}: {doubt.sentence}" for doubt in comparison_doubts(comparison)]


def doubts(comparison: Comparison) -> list[str]:
    """Return the names of the warnings that a comparison deserves."""
    return list(dict.fromkeys(doubt.name for doubt in comparison_doubts(comparison)))


def firmness(comparison: Comparison) -> str:
    """Return ``FIRM``, or ``NOT FIRM``, the one cause that weighs most, and the command that makes it firm."""
    doubt = _weightiest(comparison)
    if doubt is None:
        return FIRM
    options, called = doubt.remedy, comparison.command.startswith(CALLED)
    if called and options is not None and len(options) < 2:  # for the call itself measures anew
        options = ("--repeats", str(max(int(_MORE[1]), 2 * comparison.request.repeats)))
    remedy = "" if options is None else f"{REMEDY}{repeated(comparison.command, options)}"
    return f"NOT FIRM: {doubt.cause}.{remedy}"


def left_to_say(comparison: Comparison) -> list[Doubt]:
    """Return the doubts of which ``firmness`` does not say all there is to say."""
    said = _weightiest(comparison)
    return [doubt for doubt in comparison_doubts(comparison) if doubt != said or doubt.name not in SAID]


def _weightiest(comparison: Comparison) -> Doubt | None:
    return next((doubt for doubt in comparison_doubts(comparison) if doubt.cause), None)


def _failed(comparison: Comparison) -> tuple[str, tuple[str, ...] | None]:
    """Return why failures leave the answer open, if they do, and what to do: a split failed that may be the fastest."""
    names = [run.name for run in comparison.runs if run.failure is not None and run.name in comparison.splits]
    hurt = [name for name in dict.fromkeys(names) if name not in comparison.beaten]
    if not hurt:
        return "", ()
    ran = {run.name for run in comparison.runs if run.failure is None}
    return f"runs of {hurt[0]} failed", ("--fresh",) if hurt[0] in ran else None


def repeated(command: str, options: tuple[str, ...]) -> str:
    """Return the command that made a comparison with other options: such as have a value stand in it once."""
    if command.startswith(CALLED):
        given = "".join(f", {flag[2:]}={value}" for flag, value in zip(options[::2], options[1::2], strict=False))
        return command.replace(", …)", f", …{given})")
    words = [word for word in shlex.split(command) if word != "--fresh"]
    for flag in options[:1]:
        words = [word for word in words if not word.startswith(f"{flag}=")]
        while flag in words:
            at = words.index(flag)
            del words[at : at + len(options)]
    return shlex.join([*words, *options])


def mark(comparison: Comparison) -> str:
    """Return what has to stand beside a comparison's figures, in brackets with a blank before."""
    marked = [name for name in doubts(comparison) if name in MARKED]
    return f" ({', '.join(marked)})" if marked else ""


def _named(warning: str, cause: str, remedy: tuple[str, ...]) -> Doubt:
    """Return the doubt of a warning that begins with its name."""
    name, _, sentence = warning.partition(": ")
    return Doubt(name, sentence, cause, remedy)


def undecided(comparison: Comparison) -> tuple[str, int] | None:
    """Return who may still be faster than the first, and the fewest rounds of those of whom that is so; None: nobody.

    Who is slower beyond doubt is told by the test of the race, which keeps its promise from the second round on. Once
    rounds are enough, what they cannot tell apart is a tie, and that is an answer, too.
    """
    standing = comparison.came_through
    ratios = [comparison.ratio(part.name) for part in standing if part.name not in comparison.beaten]
    rounds = [len(ratio.runs) for ratio in ratios if ratio]
    fewest = min(rounds, default=0)
    if not comparison.open or (coverage(fewest) >= COVERAGE_WANTED and comparison.rank(standing[0].name) is not None):
        return None
    return comparison.open[0], fewest


def _few_rounds(comparison: Comparison) -> list[Doubt]:
    """Return the doubt that rests on too few rounds, while somebody may still be faster than the first."""
    standing = comparison.came_through
    ratios = [comparison.ratio(part.name) for part in standing]
    if max((len(ratio.runs) for ratio in ratios if ratio), default=comparison.rounds) == 1:
        return [Doubt("ONE ROUND", "no difference here can be told from noise, for it ran once; add --repeats 6.",
                      "each split ran once", _MORE)]  # fmt: skip
    if (rival := undecided(comparison)) is None:
        return []
    name, fewest = rival
    means, rounds = f"whether {standing[0].name} or {name} is faster", counted(fewest, "round")
    known = f"the median of {rounds} is known with {coverage(fewest):.0%} at best, not 95%"
    cause = f"{rounds} {'leaves' if fewest == 1 else 'leave'} open {means}"
    return [Doubt("FEW ROUNDS", f"noise leaves open {means}: {known}; add --repeats 6.", cause, _MORE)]


def _noise(comparison: Comparison) -> list[Doubt]:
    loads = [
        (stage.measured.foreign_load, core)
        for part in comparison.partitions
        for stage, core in zip(part.stages, comparison.request.cores, strict=False)
    ]
    load, core = max([*loads, (comparison.one_core.foreign_load, comparison.request.cores[0])])
    if comparison.comparable and (doubt := noisy(core, load)):
        return [_named(doubt, f"core {core} worked for others {load:.0%} of the time", ("--fresh",))]
    return []
