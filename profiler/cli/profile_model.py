"""Profile a model that is in memory."""

from collections.abc import Callable
from dataclasses import replace

from profiler.capture import LossFunction, Model, Sample, as_file, captured_model, live_model
from profiler.cli.options import settled_precision
from profiler.errors import ConfigError
from profiler.machine import neighbouring_cores, refuse_reimport, usable_cores
from profiler.measure import measure_profile
from profiler.profile import AUTO, FP32, NONE, Precision, Profile, form_named
from profiler.python_arguments import AboveZero, Cores, python_face
from profiler.settings import DEFAULT_RULE, Update


@python_face
def profile(
    model: Model,
    sample: Sample,
    *,
    update: Update = DEFAULT_RULE,
    loss: LossFunction | None = None,
    precision: Precision = FP32,
    slice: str = NONE,  # noqa: A002 - as the command calls it
    budget_s: AboveZero | None = None,
    cores: Cores = (),
    advance: Callable[[float], None] = lambda _share: None,
) -> Profile:
    """Measure what each layer of ``model`` costs on one core, as ``python -m profiler`` does.

    Args:
        model: On the CPU; it is left as it is.
        sample: One minibatch of inputs (N, …), as the model is called with: a tensor; several by name, in a dict or a
            dataclass; or a pair of inputs, of which some may be in order, in a tuple, and their targets, which a loss
            of one's own needs.
        update: The update rule that is timed.
        loss: ``loss(output, targets)``, one number; None for cross-entropy; ``model`` for the loss that the model
            returns, whose labels are among its inputs.
        precision: ``bf16`` for the model as it runs under torch's autocast.
        slice: Layers to cut inside, such as ``classifier.1=4``.
        budget_s: For how many seconds to run rounds, of which five are run in any case; None: until others would give
            no better plan, for 30 s at most, or as long as 15 rounds take. Capture, checks, memory and warm-up come on
            top: a few steps, and a few seconds.
        cores: The model is measured on the first, while up to three others train it, too, as other stages would; if
            empty, the cores that this process may use.
        advance: Called with shares of the work done that add up to 1, for a progress bar.

    Raises:
        ModelError, CaptureError: The model cannot be captured.
        ConfigError: An argument cannot be what it is, or ``bf16`` is asked for, and this core does not multiply it.
        ProcessError: A helping process ended, most likely for want of memory.
    """
    refuse_reimport()
    if slice == AUTO:
        raise ConfigError("a profile is of one form of the model; name layers to --slice, such as classifier.1=4")
    live = live_model(model, sample, loss)
    with as_file(live, update) as named:
        config = settled_precision(replace(named, precision=precision, slice=slice))
        form = form_named(slice, config.precision)
        beside = neighbouring_cores(usable_cores(cores), config.stages)
        return measure_profile(config, captured_model(config, form, trained=True), beside, advance, budget_s=budget_s)
