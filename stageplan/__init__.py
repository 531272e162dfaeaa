"""Plan, run and train pipelines of one-core stages, from Python.

Example::

    import stageplan

    profile = stageplan.profile(model, sample)
    plan = stageplan.plan(profile, stages=4)
    with stageplan.Pipeline(model, plan, update=stageplan.SGD(lr=0.01, momentum=0.9)) as pipeline:
        pipeline.train(loader)
    model.load_state_dict(pipeline.state_dict())

Nothing heavy is imported before it is used. Results print as tables, show themselves in notebooks, and have ``save``.
"""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.errors import InfeasibleError, PartitionError
    from optimizer.plan import Plan
    from optimizer.planning.plan_profile import plan
    from profiler.cli.profile_model import profile
    from profiler.errors import StageplanError
    from profiler.profile import Profile
    from profiler.settings.update_rule import SGD, Adam, AdamW
    from runtime.cli.compare_model import compare
    from runtime.compare import Comparison
    from runtime.report.load import load
    from runtime.training.evaluate import accuracy
    from runtime.training.learning_rates import Constant, Cosine, Steps
    from runtime.training.pipeline import Pipeline
else:
    __getattr__ = on_demand(__name__)
