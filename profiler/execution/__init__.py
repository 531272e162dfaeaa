"""A captured model as data, and the one way in which its layers, weights and slots are run."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from profiler.execution.autocast import LOWER, autocasting, forget_casts, keeping_casts
    from profiler.execution.blocks import Blocks, feature_dim, part_names
    from profiler.execution.gradient_place import has_place, onednn_lowers
    from profiler.execution.graph import (
        Applied,
        Attribute,
        Captured,
        Functional,
        Operation,
        Ref,
        Size,
        TensorSpec,
        fetch_attribute,
        leaves,
        spec_of,
        storage_of,
    )
    from profiler.execution.inputs import ONE_TENSOR, Inputs, Taken, called_with, inputs_like, samples_in
    from profiler.execution.layer import layer_seed, run_layer
    from profiler.execution.loss import (
        IGNORED,
        CrossEntropy,
        Loss,
        OwnLoss,
        cross_entropy,
        model_loss,
    )
    from profiler.execution.segment import Segment, segment_of, whole
    from profiler.execution.slots import ALIGNMENT_BYTES, fill, slot_bytes, slot_offsets, slot_tensors
    from profiler.execution.split_backward import Left, is_plain
    from profiler.execution.trees import map_tree, tree_leaves
    from profiler.execution.weight_update import Moments, norm_scale, write_next
    from profiler.execution.weight_versions import WeightVersions, count_name, moment_name
else:
    __getattr__ = on_demand(__name__)
