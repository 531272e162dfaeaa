"""Capture, plan and verify models of timm and transformers, and write what came of it as a Markdown table.

    python -m pip install timm transformers
    python benchmarks/zoo.py -o docs/results/model-zoo.md
    python benchmarks/zoo.py -o docs/results/model-zoo.md --capture-only --model convnext_atto gpt2

Of timm the smallest model of each family (each of its files), below 120 million parameters, at its own image size; of
transformers twelve architectures in small random configurations, trained for their own loss, unmodified but for what
their configurations say. Each runs in a process of its own, in training mode, on a minibatch of two or three samples:

    captured   its layers give the model's own outputs, gradients and buffers bit for bit, on other minibatches, too
    planned    for four stages
    verified   four stages train, bit for bit, what a replay in one process does

It goes on where it was: a model that the table already has is not tried again.
"""

import argparse
import importlib.metadata
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from optimizer.planning import Planner
from optimizer.schedule import PLAIN_1F1B
from profiler.capture import captured_live, live_model, refuse_unfaithful
from profiler.cli.profile_model import profile
from profiler.errors import StageplanError
from profiler.execution import Captured
from profiler.machine import pin, this_machine, usable_cores
from profiler.settings import DEFAULT_RULE
from runtime.pipeline import Execution, cores_for
from runtime.supervisor import WorkerPool
from runtime.verify import verify
from runtime.worker import Settings

MOST_PARAMETERS, STAGES, MINIBATCHES, LIMIT_S = 120e6, 4, 6, 900
HEAD = """# Models of timm and transformers

`python benchmarks/zoo.py -o docs/results/model-zoo.md{options}`: timm {timm}, transformers {transformers},
torch {torch}, on {cpu}. {count} models, {captured} captured.
Capture: what it takes on one core; held: against the model itself, bit for bit.

| model | parameters M | layers | capture s | held s | planned and verified |
|---|---:|---:|---:|---:|---|
"""
IDS = torch.arange(36).view(3, 12) % 90 + 5
LABELS = torch.tensor([0, 1, 1])
TOKENS = {"input_ids": IDS, "attention_mask": torch.ones(3, 12, dtype=torch.long)}
PIXELS = {"pixel_values": torch.linspace(-2, 2, 3 * 3 * 32 * 32).view(3, 3, 32, 32), "labels": LABELS}
SMALL = {
    "vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 64,
}  # fmt: skip
Sample = dict[str, torch.Tensor]


def transformers_models() -> dict[str, Callable[[], tuple[nn.Module, Sample]]]:
    """Return what makes each of the twelve architectures and a minibatch."""
    import transformers as hub  # type: ignore[import-not-found]

    def made(architecture: str, config: str, sample: Sample, **settings: Any) -> Callable[[], tuple[nn.Module, Sample]]:
        return lambda: (getattr(hub, architecture)(getattr(hub, config)(**settings)), sample)

    classes, text = TOKENS | {"labels": LABELS}, TOKENS | {"labels": IDS}
    vision = {
        key: SMALL[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    }
    return {
        "bert": made("BertForSequenceClassification", "BertConfig", classes, **SMALL),
        "distilbert": made(
            "DistilBertForSequenceClassification", "DistilBertConfig", classes, vocab_size=100, dim=32, n_layers=4,
            n_heads=4, hidden_dim=64, max_position_embeddings=64,
        ),
        "roberta": made("RobertaForSequenceClassification", "RobertaConfig", classes, **SMALL),
        "gpt2": made(
            "GPT2LMHeadModel", "GPT2Config", text, vocab_size=100, n_positions=64, n_embd=32, n_layer=4, n_head=4,
            bos_token_id=1, eos_token_id=2, use_cache=False,
        ),
        "llama": made("LlamaForCausalLM", "LlamaConfig", text, **SMALL, use_cache=False),
        "qwen2": made("Qwen2ForCausalLM", "Qwen2Config", text, **SMALL, num_key_value_heads=2, use_cache=False),
        "t5": made(
            "T5ForConditionalGeneration", "T5Config", text, vocab_size=100, d_model=32, d_kv=8, d_ff=64, num_layers=2,
            num_heads=4, decoder_start_token_id=0, use_cache=False,
        ),
        "vit": made("ViTForImageClassification", "ViTConfig", PIXELS, **vision, image_size=32, patch_size=8),
        "resnet": made(
            "ResNetForImageClassification", "ResNetConfig", PIXELS, embedding_size=16, hidden_sizes=[16, 32],
            depths=[2, 2], layer_type="basic",
        ),
        "convnext": made(
            "ConvNextForImageClassification", "ConvNextConfig", PIXELS, hidden_sizes=[16, 32], depths=[2, 2],
            num_stages=2,
        ),
        "swin": made(
            "SwinForImageClassification", "SwinConfig", PIXELS, image_size=32, patch_size=2, embed_dim=16,
            depths=[2, 2], num_heads=[2, 2], window_size=4,
        ),
        "wav2vec2": made(
            "Wav2Vec2ForSequenceClassification", "Wav2Vec2Config",
            {"input_values": torch.linspace(-1, 1, 1200).view(3, 400), "labels": LABELS}, hidden_size=32,
            num_hidden_layers=4, num_attention_heads=4, intermediate_size=64, conv_dim=(16, 16), conv_stride=(5, 2),
            conv_kernel=(10, 3), num_feat_extract_layers=2, num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=2, classifier_proj_size=16, layerdrop=0.0, apply_spec_augment=False,
        ),
    }  # fmt: skip


def timm_models() -> Iterator[str]:
    """Yield the smallest model of each family of timm that has few enough parameters."""
    import timm

    families: dict[str, list[str]] = {}
    for name in timm.list_models():
        families.setdefault(timm.models.model_entrypoint(name).__module__, []).append(name)
    for names in families.values():
        sizes = {}
        for name in [name for name in names if not name.startswith("test_")] or names:
            try:
                with torch.device("meta"):
                    model = timm.create_model(name, num_classes=10)
            except Exception:  # noqa: BLE001, S112 - it needs what is not installed
                continue
            sizes[name] = sum(parameter.numel() for parameter in model.parameters())
        smallest = min(sizes, key=sizes.__getitem__, default=None)
        if smallest and sizes[smallest] < MOST_PARAMETERS:
            yield smallest


def main() -> None:
    """Write the table, one line a model as it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--model", nargs="+")
    parser.add_argument("--capture-only", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(f"| {options.one} | {line_of(options.one, capture_only=options.capture_only)} |", flush=True)
        return
    done = options.output.read_text().splitlines() if options.output.is_file() else []
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in done if line.startswith("| ")}
    flags = ["--capture-only"] if options.capture_only else []
    for name in options.model or [*transformers_models(), *timm_models()]:
        lines[name] = lines.get(name) or tried(name, flags)
        print(lines[name], flush=True)
        options.output.write_text(table([line for name, line in lines.items() if name != "model"], flags))


def table(lines: Sequence[str], flags: Sequence[str]) -> str:
    """Return the whole file."""
    captured = sum(not line.split(" | ")[1].startswith("refused") for line in lines)
    versions = {name: importlib.metadata.version(name) for name in ("timm", "transformers", "torch")}
    head = HEAD.format(
        **versions,
        cpu=this_machine().cpu,
        count=len(lines),
        captured=captured,
        options="".join(f" {own}" for own in flags),
    )
    return head + "".join(f"{line}\n" for line in lines)


def tried(name: str, flags: Sequence[str]) -> str:
    """Try one model in a process of its own and return its line."""
    command = [sys.executable, __file__, "--one", name, *flags]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=LIMIT_S, text=True)
    except subprocess.TimeoutExpired:
        return f"| {name} | refused: it takes longer than {LIMIT_S} s |" + " |" * 4
    found = [line for line in done.stdout.splitlines() if line.startswith(f"| {name} | ")]
    last = (done.stderr.strip().splitlines() or [""])[-1]
    return found[-1] if found else f"| {name} | refused: the process ended with {done.returncode}: {last} |" + " |" * 4


def line_of(name: str, *, capture_only: bool) -> str:
    """Return what came of a model, as cells of the table."""
    pin(usable_cores()[0])
    made = made_model(name)
    try:
        captured, times_s, after = captured_and_held(*made, name)
    except StageplanError as error:
        return f"refused: {error} |" + " |" * 3
    model, sample, loss = made
    parameters = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    cells = [
        f"{parameters:.1f}", str(len(captured.operations)) + after,
        *(f"{time_s:.1f}" for time_s in times_s),
    ]  # fmt: skip
    if capture_only:
        return " | ".join([*cells, "not tried"])
    measured = profile(model, sample, loss=loss, budget_s=0.1, cores=usable_cores()[:1])
    plan = Planner(measured, STAGES, MINIBATCHES).optimized()
    settings = Settings(rule=DEFAULT_RULE, seed=0, pace=PLAIN_1F1B, vocabulary=0)
    with (
        WorkerPool(cores_for(STAGES, usable_cores())) as pool,
        Execution(captured, pool, settings) as execution,
    ):
        found = verify("optimized", plan, execution, MINIBATCHES, lambda: None)
    said = "identical" if found.identical else f"differs: {found.first_difference}"
    totals = [stage.total_s for stage in plan.stages]
    over = max(totals) / statistics.mean(totals) - 1
    return " | ".join([*cells, f"{over:+.0%} of an even share, {said}"])


def made_model(name: str) -> tuple[nn.Module, Any, Any]:
    """Return a model, in training mode, a minibatch for it, and its loss."""
    torch.manual_seed(0)
    makers = transformers_models()
    if name in makers:
        model, sample = makers[name]()
        return model.train(), sample, "model"
    import timm

    model = timm.create_model(name, num_classes=10)
    known = model.pretrained_cfg if isinstance(model.pretrained_cfg, dict) else {}
    return model.train(), torch.randn(2, *known.get("input_size", (3, 224, 224))), None


def captured_and_held(model: nn.Module, sample: Any, loss: Any, name: str) -> tuple[Captured, list[float], str]:
    """Return the captured model, the seconds of capture and check, and whether it took a call before.

    Some refusals ask for one call of the model, so a refused model gets one, and is tried again.

    Raises:
        StageplanError: it is refused after a call, too.
    """

    def tried_once() -> tuple[Captured, list[float]]:
        start = time.perf_counter()
        live = live_model(model, sample, loss, name)
        captured = captured_live(live)
        capture_s = time.perf_counter() - start
        refuse_unfaithful(captured, live.inputs, None if loss else torch.tensor([1, 2]))
        return captured, [capture_s, time.perf_counter() - start - capture_s]

    try:
        return *tried_once(), ""
    except StageplanError:
        with torch.no_grad():
            model(**sample) if isinstance(sample, dict) else model(sample)
        return *tried_once(), ", after one call"


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
