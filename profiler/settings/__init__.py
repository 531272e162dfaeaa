"""Settings of a user: a configuration file, a study of several, the update rule."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from profiler.settings.config import LIVE_SUFFIX, Config, load_all, usual_minibatches
    from profiler.settings.strict_yaml import configs_folder, convert, read_mapping
    from profiler.settings.update_rule import (
        BOUNDED_NORM,
        DEFAULT_RULE,
        SGD,
        AdamW,
        LearningRate,
        Update,
        UpdateRule,
    )
else:
    __getattr__ = on_demand(__name__)
