"""Name our commands in messages as their reader calls them: typed, in one of two forms, or as functions from Python."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

MODULES, ONE_NAME = "python -m", "stageplan"
"""The forms in which commands are typed: ``python -m profiler`` and ``stageplan profile``."""
PACKAGES = {"profile": "profiler", "plan": "optimizer"}
"""The package whose own command it is; all others are commands of ``python -m runtime``."""
_FORMS: list[str] = []
"""The forms that this process was called in, the outermost first; empty for who calls us from Python."""


@contextmanager
def typed_as(form: str) -> Iterator[None]:
    """Let messages name commands in ``form`` as long as the context lasts, unless one around it has said how."""
    _FORMS.append(form)
    try:
        yield
    finally:
        _FORMS.pop()


def command(name: str = "", *words: str, **options: object) -> str:
    """Return a command to type, quoted for a shell: ``python -m profiler --model resnet50 --batch-size 4``.

    Args:
        name: As ``stageplan`` calls it; nothing for what all commands of the runtime begin with.
        words: Its first arguments.
        options: Further ones by name, as ``option_words`` takes them.
    """
    modules = ("python", "-m", PACKAGES[name]) if name in PACKAGES else ("python", "-m", "runtime", name)
    start = modules if _FORMS[:1] == [MODULES] else ("stageplan", name)
    return shlex.join([word for word in start if word] + [*words, *option_words(**options)])


def option_words(**options: object) -> tuple[str, ...]:
    """Return options as they are typed, without those that say nothing: ``batch_size=4`` is ``--batch-size 4``."""
    words: list[str] = []
    for name, value in options.items():
        if value:
            words.append(f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}")
            words.append(",".join(map(str, value)) if isinstance(value, tuple) else str(value))
    return tuple(words)


def again(name: str, typed: Sequence[str], **options: object) -> str:
    """Return what treats the same model again: a command, or the function where nothing was ``typed`` that names it."""
    return command(name, *typed, **options) if typed else f"stageplan.{name}"


def without(words: Sequence[str], *flags: str) -> list[str]:
    """Return the words of a command line without some flags and the value behind each."""
    kept = list(words)
    for flag in flags:
        if flag in kept:
            at = kept.index(flag)
            del kept[at : at + 2]
    return kept
