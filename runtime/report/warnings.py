"""Say what casts doubt on a comparison: the one closed list of its warnings, and whether its answer is firm.

Each says first what it means for the figures, then the cause, then the remedy.
"""

import shlex
from dataclasses import dataclass

from profiler.report import counted
from runtime.compare import Comparison
from runtime.pipeline import noisy, sharing

TOO_LOUD = 0.3
"""A core that worked for others for more than this share of the time says nothing of splits."""
SAID = ("OPEN", "PROVISIONAL")
MARKED = ("NOT COMPARABLE", "NOISY")
"""The doubts that stand beside a comparison's figures wherever these are shown."""
FIRM = "FIRM."
CALLED = "stageplan.compare("
"""How the command of a comparison begins that was called from Python."""


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
    return [*found, *_noise(comparison), *_open(comparison)]


def doubts(comparison: Comparison) -> list[str]:
    """Return the names of the warnings that a comparison deserves."""
    return list(dict.fromkeys(doubt.name for doubt in comparison_doubts(comparison)))


def firmness(comparison: Comparison) -> str:
    """Return ``FIRM``, or ``NOT FIRM`` and the one cause that weighs most."""
    doubt = _weightiest(comparison)
    return f"NOT FIRM: {doubt.cause}." if doubt else FIRM


def remedy(comparison: Comparison) -> str:
    """Return the command that makes a comparison firm; nothing where it is, or none does."""
    doubt = _weightiest(comparison)
    if doubt is None or doubt.remedy is None:
        return ""
    options, called = doubt.remedy, comparison.command.startswith(CALLED)
    if called and len(options) < 2:  # for the call itself measures anew
        options = ("--repeats", str(comparison.rounds + max(1, comparison.ranking.more_rounds)))
    return repeated(comparison.command, options)


def left_to_say(comparison: Comparison) -> list[Doubt]:
    """Return the doubts of which ``firmness`` does not say all there is to say."""
    said = _weightiest(comparison)
    return [doubt for doubt in comparison_doubts(comparison) if doubt != said or doubt.name not in SAID]


def _weightiest(comparison: Comparison) -> Doubt | None:
    return next((doubt for doubt in comparison_doubts(comparison) if doubt.cause), None)


def _failed(comparison: Comparison) -> tuple[str, tuple[str, ...] | None]:
    """Return why failures leave the answer open, if they do, and what to do: a split failed that may be the fastest."""
    names = [run.name for run in comparison.runs if run.failure is not None and run.name in comparison.splits]
    beaten = [part.name for part in comparison.came_through[1:] if part.name not in comparison.ranking.ties]
    hurt = [name for name in dict.fromkeys(names) if name not in beaten]
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


def _open(comparison: Comparison) -> list[Doubt]:
    """Return the doubt that more rounds would take away: somebody may still be faster than the first."""
    standing, ranked = comparison.came_through, comparison.ranking
    if not standing or ranked.firm:
        return []
    about = f"about {counted(ranked.more_rounds, 'more round')} would tell"
    cause = f"{standing[0].name} or {ranked.ties[0]} may be faster; {about}"
    return [Doubt("OPEN", cause, cause, ("--repeats", str(comparison.rounds + ranked.more_rounds)))]


def too_loud(comparison: Comparison) -> bool:
    """Say whether a core worked for others for so long that runs say nothing of splits."""
    return comparison.comparable and _loudest(comparison)[0] > TOO_LOUD


def _noise(comparison: Comparison) -> list[Doubt]:
    load, core = _loudest(comparison)
    if not comparison.comparable or not (doubt := noisy(core, load)):
        return []
    cause = f"core {core} worked for others {load:.0%} of the time"
    if load > TOO_LOUD:
        cause = f"too loud to tell, {cause}"
    elif _outlasts(comparison, load):
        cause = ""
    return [_named(doubt, cause, ("--fresh",))]


def _outlasts(comparison: Comparison, load: float) -> bool:
    """Say whether the fastest split would be ahead even if it alone had been spared what others took of the cores."""
    ranked, (best, *others) = comparison.ranking, comparison.came_through or (None,)
    ratios = [comparison.between(best.name, other.name) for other in others] if best else []
    ahead = [ratio is not None and ratio.median * (1 - load) > 1 for ratio in ratios]
    return ranked.firm and not ranked.ties and bool(ahead) and all(ahead)


def _loudest(comparison: Comparison) -> tuple[float, int]:
    """Return the largest share of the time in which a core worked for others, and that core."""
    loads = [
        (stage.measured.foreign_load, core)
        for part in comparison.partitions
        for stage, core in zip(part.stages, comparison.request.cores, strict=False)
    ]
    return max([*loads, (comparison.one_core.foreign_load, comparison.request.cores[0])])
