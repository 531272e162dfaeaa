import mmap

import torch

from profiler.execution import ALIGNMENT_BYTES, TensorSpec, fill, slot_bytes, slot_tensors


def spec(
    shape: tuple[int, ...], dtype: torch.dtype = torch.float32, stride: tuple[int, ...] | None = None
) -> TensorSpec:
    dense = torch.empty(shape, device="meta").stride()
    return TensorSpec(name="x", shape=shape, stride=stride or dense, dtype=dtype, gradient=True)


def test_what_is_filled_is_read_back_whatever_type_and_memory_format() -> None:
    specs = [spec((3, 5)), spec((7,), torch.int64), spec((2, 3, 4, 5), stride=(60, 1, 15, 3)), spec((0, 3)), spec(())]
    slot = slot_tensors(mmap.mmap(-1, slot_bytes(specs)), 0, specs)
    tensors = [torch.randn(3, 5), torch.arange(7), torch.randn(2, 3, 4, 5), torch.zeros(0, 3), torch.tensor(2.5)]
    fill(slot, tensors)
    for found, tensor, one in zip(slot, tensors, specs, strict=True):
        assert torch.equal(found, tensor)
        assert found.stride() == one.stride


def test_tensors_are_aligned_and_do_not_overlap() -> None:
    specs = [spec((1,)), spec((17,)), spec((3,), torch.int8), spec((2,))]
    slot = slot_tensors(mmap.mmap(-1, slot_bytes(specs)), 0, specs)
    starts = [tensor.data_ptr() for tensor in slot]
    assert all(start % ALIGNMENT_BYTES == 0 for start in starts)
    ends = [start + one.bytes for start, one in zip(starts, specs, strict=True)]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    assert slot_bytes(specs) == 64 + 128 + 64 + 64


def test_a_slot_lives_in_the_buffer_at_its_offset() -> None:
    memory = mmap.mmap(-1, 4096)
    (tensor,) = slot_tensors(memory, 128, [spec((2,))])
    fill([tensor], [torch.tensor([1.0, 2.0])])
    assert memory[128:136] == torch.tensor([1.0, 2.0]).numpy().tobytes()
