"""Each row of the tables in ``docs/models.md`` and of the losses and rates in ``docs/python.md``, in two real stages.

A pipeline that updates after each minibatch computes what the loop computes that anyone would write in plain PyTorch:
losses and weights have to be the same in every bit.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import documented_models as models
import pytest
import torch
from documented_models import CLASSES, LENGTH, WIDTH, WORDS, Table
from torch import Tensor, nn
from trained import plainly

import stageplan
from stageplan import SGD, Adam, AdamW, Constant, Cosine, Plan, Steps

pytestmark = pytest.mark.usefixtures("kept_workers", "pinned_process")

SAMPLES, MINIBATCHES = 4, 4
RULE = SGD(lr=0.1)
plain_sgd = functools.partial(torch.optim.SGD, lr=0.1)
cross_entropy = nn.functional.cross_entropy
Batches = list[Any]


def labels(drawn: torch.Generator, *shape: int, classes: int = CLASSES) -> Tensor:
    return torch.randint(classes, shape, generator=drawn)


def minibatches(of: Callable[[torch.Generator], Any]) -> Batches:
    drawn = torch.Generator().manual_seed(7)
    return [of(drawn) for _ in range(MINIBATCHES)]


def vectors(drawn: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(SAMPLES, WIDTH, generator=drawn), labels(drawn, SAMPLES)


def sequences(drawn: torch.Generator) -> tuple[Tensor, Tensor]:
    """Of which some positions do not count."""
    targets = labels(drawn, SAMPLES, LENGTH)
    return torch.randn(SAMPLES, LENGTH, WIDTH, generator=drawn), targets.where(targets > 0, -100)


def texts(drawn: torch.Generator) -> tuple[Tensor, Tensor]:
    shape = SAMPLES, LENGTH
    return labels(drawn, *shape, classes=WORDS), labels(drawn, *shape, classes=WORDS)


def one_ignored(drawn: torch.Generator) -> tuple[Tensor, Tensor]:
    inputs, targets = vectors(drawn)
    return inputs, torch.cat([torch.tensor([-100]), targets[1:]])


def class_shares(drawn: torch.Generator) -> tuple[Tensor, Tensor]:
    return vectors(drawn)[0], torch.rand(SAMPLES, CLASSES, generator=drawn).softmax(-1)


def words(drawn: torch.Generator) -> dict[str, Tensor]:
    ids = labels(drawn, SAMPLES, LENGTH, classes=WORDS)
    return {"ids": ids, "mask": torch.rand(SAMPLES, LENGTH, generator=drawn) > 0.3, "labels": labels(drawn, SAMPLES)}


def masked(drawn: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
    batch = words(drawn)
    return batch, batch.pop("labels")


def unmasked(drawn: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
    batch, targets = masked(drawn)
    return {"ids": batch["ids"]}, targets


def in_order(drawn: torch.Generator) -> tuple[tuple[Tensor, Tensor], Tensor]:
    left, right = torch.randn(2, SAMPLES, WIDTH, generator=drawn)
    return (left, right), labels(drawn, SAMPLES)


def tree(drawn: torch.Generator) -> tuple[dict[str, Any], Tensor]:
    columns, targets = in_order(drawn)
    return {"table": Table(list(columns), 0.5), "more": {"plain": False, "other": columns[0] + 1}}, targets


def of_heads(output: Any, targets: Tensor) -> Tensor:
    main, auxiliary = output
    return cross_entropy(main, targets) + 0.3 * cross_entropy(auxiliary, targets)


def of_logits(output: Any, targets: Tensor) -> Tensor:
    return cross_entropy(output["logits"] if isinstance(output, dict) else output.logits, targets)


def own(output: Any, _targets: Any) -> Tensor:
    loss: Tensor = output["loss"] if isinstance(output, dict) else output.loss
    return loss


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a row of a table says one may train.

    Attributes:
        batch: Draws a minibatch.
        plain: The loss in plain PyTorch, of what the model returns.
        loss: What the pipeline is given as ``loss``.
        optimizer: The rule's twin in torch.optim.
        rates: Learning rates as told from the documents, one an update; None: the rule's own.
        clip: Done to the gradients before each update of plain PyTorch.
        rounded: Why weights agree within rounding only; empty: they agree in every bit.
    """

    model: Callable[[], nn.Module] = models.Scores
    batch: Callable[[torch.Generator], Any] = vectors
    plain: Callable[[Any, Tensor], Tensor] = cross_entropy
    loss: Any = None
    rule: Any = RULE
    optimizer: Callable[..., torch.optim.Optimizer] = plain_sgd
    learning_rate: Any = None
    rates: list[float] | None = None
    clip: Callable[[list[nn.Parameter]], object] = field(default=lambda _parameters: None)
    rounded: str = ""


def own_loss(function: Callable[[Any, Tensor], Tensor], **row: Any) -> Row:
    return Row(loss=function, plain=function, **row)


def halving(updates: int) -> float:
    return float(0.2 / 2**updates)


ROWS = {
    "one tensor": Row(),
    "several by name": Row(model=models.Words, batch=masked, plain=of_logits),
    "several in order": Row(model=models.TwoInOrder, batch=in_order),
    "a tree of tensors": Row(model=models.TakesTree, batch=tree),
    "an optional one left out": Row(model=models.Words, batch=unmasked, plain=of_logits),
    "a tuple of heads": Row(model=models.Heads, plain=of_heads),
    "scores of each position, some left out": Row(
        batch=sequences, plain=lambda output, targets: cross_entropy(output.flatten(0, 1), targets.flatten())
    ),
    "a dict with logits": Row(model=models.LogitsInDict, plain=of_logits),
    "a dataclass with logits": Row(model=models.LogitsInDataclass, plain=of_logits),
    "a dict with loss": Row(model=models.Words, batch=words, loss="model", plain=own),
    "a dataclass with loss": Row(model=models.words_in_a_dataclass, batch=words, loss="model", plain=own),
    "anything": own_loss(models.loss_of_everything, model=models.ReturnsEverything),
    "label smoothing": own_loss(nn.CrossEntropyLoss(label_smoothing=0.1)),
    "shares of classes": own_loss(cross_entropy, batch=class_shares),
    "a label of -100": Row(batch=one_ignored),
    "any tensor of targets": own_loss(models.shares_loss, batch=class_shares),
    "a language model": own_loss(models.loss_of_positions, model=models.LanguageModel, batch=texts),
    "SGD with momentum": Row(
        rule=SGD(lr=0.1, momentum=0.9),
        optimizer=functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        rounded="g + μ·m is rounded once, and twice by torch, which multiplies in a pass of its own",
    ),
    "Adam": Row(rule=Adam(lr=0.01), optimizer=functools.partial(torch.optim.Adam, lr=0.01)),
    "AdamW": Row(
        rule=AdamW(lr=0.01, weight_decay=0.1),
        optimizer=functools.partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1),
        rounded="(1 - η·λ)·w is added in the same pass, and rounded before by torch, which decays in one of its own",
    ),
    "clip": Row(rule=SGD(lr=0.1, clip=0.01), clip=lambda parameters: nn.utils.clip_grad_value_(parameters, 0.01)),
    "clip_norm": Row(
        rule=SGD(lr=0.1, clip_norm=0.1), clip=lambda parameters: nn.utils.clip_grad_norm_(parameters, 0.1)
    ),
    "Constant": Row(learning_rate=Constant(0.2, warmup=2), rates=[0.1, 0.2, 0.2, 0.2]),
    "Steps": Row(learning_rate=Steps(0.2, every=2, factor=0.5), rates=[0.2, 0.2, 0.1, 0.1]),
    "Cosine": Row(
        learning_rate=Cosine(0.2, updates=4),
        rates=[0.2 * 0.5 * (1 + math.cos(math.pi * share)) for share in (0, 0.25, 0.5, 0.75)],
    ),
    "a number as the learning rate": Row(learning_rate=0.3, rates=[0.3] * MINIBATCHES),
    "a function of one's own as the learning rate": Row(learning_rate=halving, rates=[0.2, 0.1, 0.05, 0.025]),
}


def built(row: Row) -> nn.Module:
    torch.manual_seed(3)
    return row.model().train()


PLANS: dict[Any, Plan] = {}
"""By model and what its inputs look like, whatever it is trained for."""


def plan_of(row: Row, sample: Any) -> Plan:
    """Two stages for a model, as it measures here."""
    inputs = sample[0] if isinstance(sample, tuple) else sample
    key = row.model, tuple(inputs) if isinstance(inputs, dict) else getattr(inputs, "shape", None)
    if key not in PLANS:
        PLANS[key] = stageplan.plan(stageplan.profile(built(row), sample, loss=row.loss, budget_s=0.01), stages=2)
    return PLANS[key]


def pipeline_of(row: Row) -> stageplan.Pipeline:
    sample = minibatches(row.batch)[0]
    return stageplan.Pipeline(
        built(row), plan_of(row, sample), sample=sample, loss=row.loss, update=row.rule,
        learning_rate=row.learning_rate, schedule="1f1b-flush", update_every=1,
    )  # fmt: skip


def called(model: nn.Module, batch: Any) -> tuple[Any, Any]:
    """What a model makes of a minibatch, and the targets."""
    inputs, targets = batch if isinstance(batch, tuple) else (batch, None)
    if isinstance(inputs, dict):
        return model(**inputs), targets
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs), targets


def trained_plainly(row: Row, batches: Batches) -> tuple[list[float], nn.Module]:
    """Losses and the model, of the loop that anyone would write."""
    model = built(row)
    optimizer = row.optimizer(model.parameters())

    def before_step(update: int) -> None:
        if row.rates:
            optimizer.param_groups[0]["lr"] = row.rates[update]
        row.clip(list(model.parameters()))

    return plainly(batches, optimizer, lambda batch: row.plain(*called(model, batch)), before_step), model


@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_the_documents_is_trained_in_two_stages_as_in_plain_pytorch(name: str) -> None:
    row = ROWS[name]
    batches = minibatches(row.batch)
    with pipeline_of(row) as pipeline:
        losses = pipeline.train(batches).losses
    plain_losses, model = trained_plainly(row, batches)
    tolerance = {"rtol": 1e-5, "atol": 1e-7} if row.rounded else {"rtol": 0, "atol": 0}
    torch.testing.assert_close(torch.tensor(losses), torch.tensor(plain_losses), **tolerance)
    torch.testing.assert_close(pipeline.state_dict(), model.state_dict(), **tolerance)


@pytest.mark.parametrize("name", ["Adam", "a tuple of heads", "scores of each position, some left out"])
def test_a_minibatch_in_which_no_label_counts_has_a_loss_of_0_and_trains_as_in_plain_pytorch(name: str) -> None:
    row = ROWS[name]
    batches = minibatches(row.batch)
    batches[1:3] = [(inputs, torch.full_like(targets, -100)) for inputs, targets in batches[1:3]]
    with pipeline_of(row) as pipeline:
        losses = pipeline.train(batches).losses
    plain_losses, model = trained_plainly(row, batches)
    assert [math.isnan(loss) for loss in plain_losses] == [False, True, True, False]
    assert list(losses) == [plain_losses[0], 0, 0, plain_losses[3]]
    torch.testing.assert_close(pipeline.state_dict(), model.state_dict(), rtol=0, atol=0)


def right(output: Any, targets: Tensor) -> Tensor:
    """Whether each label that counts has the highest score."""
    scores: Tensor = output["logits"] if isinstance(output, dict) else output
    return (scores.argmax(-1) == targets)[targets != -100].double()


@pytest.mark.parametrize(
    ("name", "metric", "plain"),
    [
        ("one tensor", None, right),
        ("a dict with logits", None, right),
        ("a label of -100", None, right),
        ("scores of each position, some left out", None, right),
        ("several by name", right, right),
        ("anything", None, models.loss_of_everything),
        ("a dict with loss", None, own),
    ],
)
def test_a_row_of_the_documents_is_evaluated_as_in_plain_pytorch(name: str, metric: Any, plain: Any) -> None:
    row = ROWS[name]
    batches = minibatches(row.batch)
    with pipeline_of(row) as pipeline:
        pipeline.train(batches)
        value = pipeline.evaluate(batches, metric)
    model = trained_plainly(row, batches)[1].eval()
    with torch.inference_mode():
        values = [plain(*called(model, batch)).reshape(-1) for batch in batches]
    assert value == pytest.approx(torch.cat(values).double().mean().item(), rel=1e-12)
