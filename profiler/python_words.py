"""Word errors for the person who called a function of Python: ``stages=3``, where a command says ``--stages 3``.

Sentences are written for the command line. What users call from Python hands them on in its own terms.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from profiler.commands import typed_form
from profiler.errors import StageplanError

_ARGUMENTS = {
    "--update-every": "update_every", "--batches": "minibatches", "--budget": "budget_s",
    "--cut-after": "cut_after", "--memory-limit": "memory_limit_bytes",
    "--stall-timeout": "stall_timeout_s",
} | {
    f"--{name}": name
    for name in (
        "stages", "schedule", "channel", "cores", "precision", "slice", "partitions", "repeats", "method",
        "link",
    )
}  # fmt: skip
"""The argument that stands for an option."""
_PHRASES = {
    "give another place with -o or --out": "give another path",
    "give another place with --checkpoint": "give another path",
    "give --sample-shape and --vocabulary": "give a sample of torch.int64",
    "another --batch-size or --image-size": "another sample",
    "smaller --batch-size or --image-size": "smaller sample",
    "smaller --batch-size": "smaller minibatch as the sample",
    "stageplan train --checkpoint, or Pipeline.save,": "Pipeline.save",
    "lower lr in a configuration file": "lower lr",
    "stageplan profile": "stageplan.profile",
    "stageplan plan": "stageplan.plan",
    "stageplan compare": "stageplan.compare",
    "stageplan run": "stageplan.Pipeline",
}
_NAMES = "1f1b-flush|1f1b|zero-bubble|gpipe|shm|gloo|fp32|bf16|auto|none"
_VALUE = rf"{_NAMES}|\S+=\d[\d+]*|[\d,]*\d(?:[KMG]iB|B)?"
_OPTION = re.compile(rf"({'|'.join(_ARGUMENTS)})\b(?: ({_VALUE})(?![\w.]\w))?")
_SHAPE = re.compile(r"--sample-shape (\d+(?:,\d+)*)")
_UNITS = {"B": 0, "KiB": 10, "MiB": 20, "GiB": 30}


@contextmanager
def worded_for_python() -> Iterator[None]:
    """Word every error that leaves the context for Python, unless a command is running."""
    try:
        yield
    except StageplanError as error:
        if not typed_form():
            error.args = (python_words(str(error)),)
            if notes := getattr(error, "__notes__", None):
                notes[:] = map(python_words, notes)
        raise


def python_words(sentence: str) -> str:
    """Return a sentence that names options of commands with arguments of Python in their place."""
    for phrase, words in _PHRASES.items():
        sentence = sentence.replace(phrase, words)
    sentence = _SHAPE.sub(lambda match: f"a sample of shape (N, {match[1].replace(',', ', ')})", sentence)
    return _OPTION.sub(lambda match: _assigned(_ARGUMENTS[match[1]], match[2]), sentence)


def _assigned(name: str, value: str | None) -> str:
    """Return an argument with the value that its option has on the command line, if any."""
    if value is None:
        return name
    if name == "cores":
        return f"cores=[{value.replace(',', ', ')}]"
    if size := re.fullmatch(r"(\d+)([KMG]?i?B)", value):
        return f"{name}={int(size[1]) << _UNITS[size[2]]}"
    return f"{name}={value}" if value.isdecimal() else f'{name}="{value}"'
