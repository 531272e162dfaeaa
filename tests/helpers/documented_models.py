"""A small model for each row of the tables in ``docs/models.md``, and losses of users' own for them."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

WIDTH, CLASSES, LENGTH, WORDS = 6, 3, 5, 10


class Scores(nn.Module):
    """Takes one tensor ``(N, …, 6)``, returns scores ``(N, …, 3)``."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(WIDTH, 8), nn.Linear(8, 8), nn.Linear(8, CLASSES)

    def hidden(self, x: Tensor) -> Tensor:
        return torch.tanh(self.second(torch.relu(self.first(x))))

    def forward(self, x: Tensor) -> Any:
        return self.head(self.hidden(x))


class Heads(Scores):
    """Returns two heads: an auxiliary one of the first layer, behind the main one."""

    def __init__(self) -> None:
        super().__init__()
        self.auxiliary = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.relu(self.first(x))
        return self.head(torch.tanh(self.second(x))), self.auxiliary(x)


class LogitsInDict(Scores):
    def forward(self, x: Tensor) -> dict[str, Any]:
        hidden = self.hidden(x)
        return {"hidden": hidden, "logits": self.head(hidden), "note": "dict"}


@dataclass
class Output:
    """As models of transformers return it."""

    logits: Tensor
    hidden: Tensor | None = None
    loss: Tensor | None = None


class LogitsInDataclass(Scores):
    def forward(self, x: Tensor) -> Output:
        hidden = self.hidden(x)
        return Output(self.head(hidden), hidden)


class Fields(NamedTuple):
    """A named tuple of a tensor, and of what is none."""

    scores: Tensor
    name: str


class AttributeDict(dict[str, Any]):
    """A dict as a library has it, whose items are attributes, too."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(name)
        return self[name]


@dataclass(frozen=True, slots=True)
class Everything:
    """All that a model may return beside what learns."""

    scores: OrderedDict[str, Tensor]
    heads: tuple[Tensor, list[Tensor]]
    fields: Fields
    attributes: AttributeDict
    predicted: Tensor
    constant: Tensor
    note: str
    number: float
    nothing: None = None


class ReturnsEverything(Scores):
    def forward(self, x: Tensor) -> Everything:
        hidden = self.hidden(x)
        scores = self.head(hidden)
        return Everything(
            OrderedDict(last=scores, first=hidden), (scores, [hidden]), Fields(scores * 0.5, "named"),
            AttributeDict(hidden=hidden * 0.5, weight=2), scores.argmax(-1), torch.tensor([2.0, 3.0]), "all", 0.5,
        )  # fmt: skip


def loss_of_everything(output: Everything, targets: Tensor) -> Tensor:
    """Takes each leaf by its class, and fails where one is another than the model returns."""
    assert type(output) is Everything
    assert type(output.scores) is OrderedDict
    assert (type(output.fields), output.fields.name) == (Fields, "named")
    assert (type(output.attributes), output.attributes.weight) == (AttributeDict, 2)
    assert (output.note, output.number, output.nothing) == ("all", 0.5, None)
    assert output.predicted.dtype == torch.int64
    assert output.scores.popitem()[0] == "first"
    (main, (hidden,)) = output.heads
    right = (output.predicted == targets).sum()
    loss: Tensor = nn.functional.cross_entropy(output.scores["last"], targets) + output.number * hidden.square().mean()
    loss = loss + output.fields.scores.square().mean() + output.attributes.hidden.mean()
    return loss + main.sum() / output.constant.sum() + right


class Words(nn.Module):
    """Takes token ids, and a mask where one is given, by name; returns its loss where labels are given."""

    def __init__(self, output: type[Any] = dict) -> None:
        super().__init__()
        self.output = output
        self.words, self.middle, self.head = nn.Embedding(WORDS, 8), nn.Linear(8, 8), nn.Linear(8, CLASSES)

    def forward(self, ids: Tensor, mask: Tensor | None = None, labels: Tensor | None = None) -> Any:
        embedded = self.words(ids)
        if mask is not None:
            embedded = embedded * mask[..., None]
        logits = self.head(torch.tanh(self.middle(embedded.sum(1))))
        if labels is None:
            return self.output(logits=logits)
        return self.output(logits=logits, loss=nn.functional.cross_entropy(logits, labels))


def words_in_a_dataclass() -> nn.Module:
    return Words(Output)


class LanguageModel(nn.Module):
    """Scores ``(N, T, vocabulary)`` of token ids ``(N, T)``, with a tied embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.middle, self.head = nn.Embedding(WORDS, 8), nn.Linear(8, 8), nn.Linear(8, WORDS, bias=False)
        self.head.weight = self.words.weight

    def forward(self, ids: Tensor) -> Tensor:
        scores: Tensor = self.head(torch.tanh(self.middle(self.words(ids))))
        return scores


def loss_of_positions(output: Tensor, targets: Tensor) -> Tensor:
    """As ``docs/python.md`` has it."""
    return nn.functional.cross_entropy(output.flatten(0, 1), targets.flatten())


class TwoInOrder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(WIDTH, 8), nn.Linear(WIDTH, 8), nn.Linear(16, CLASSES)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        scores: Tensor = self.head(torch.relu(torch.cat([self.left(left), self.right(right)], 1)))
        return scores


@dataclass
class Table:
    """A tree of inputs."""

    columns: list[Tensor]
    scale: float


class TakesTree(TwoInOrder):
    def forward(self, table: Table, more: dict[str, Any]) -> Tensor:  # type: ignore[override]
        left, right = table.columns
        return super().forward(left * table.scale, right if more["plain"] else more["other"])


def shares_loss(output: Tensor, targets: Tensor) -> Tensor:
    """The user's own, of any tensor of targets."""
    return (output.softmax(-1) - targets).square().mean()
