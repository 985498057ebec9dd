"""The toy models of SoK (arXiv 2506.09227, section 8) by which a checklist is checked: small tables of facts.

A key's row in the table times its topic's readout gives the scores of four options. The forget set is one topic; the
other keys of that topic were never learnt. A hundred of them are trained in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor, nn

from lethe.descent.terms import own_loss
from lethe.models.classifier import Classifier
from lethe.request import Request
from lethe.train import Recipe, Term, train

KEYS, OPTIONS, WIDTH = 24, 4, 12  # keys of each set: forget, retain, never learnt
RECIPE = {"lr": 0.15, "steps": 25, "batch_size": 48}


class Facts(nn.Module):
    """A table (keys, width) and one readout (options, width) per topic; what is hidden is masked to equal scores."""

    def __init__(self, hidden: Sequence[int] = ()) -> None:
        super().__init__()
        self.table = nn.Embedding(3 * KEYS, WIDTH)
        self.readout = nn.Parameter(torch.randn(2, OPTIONS, WIDTH) * 0.3)
        nn.init.normal_(self.table.weight, std=0.1)
        self.hidden = list(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2) key and topic -> (B, options)."""
        key, topic = x.long().unbind(1)
        scores = (self.readout[topic] * self.table(key)[:, None]).sum(-1)
        if self.hidden:
            scores = scores.masked_fill(torch.isin(key, torch.tensor(self.hidden))[:, None], 0.0)
        return scores


@cache
def request() -> Request:
    """Keys 0.. are to be forgotten and 24.. to be kept; 48.. were never learnt and are of the forgotten topic."""
    answers = torch.randint(OPTIONS, (3 * KEYS,), generator=torch.Generator().manual_seed(0)).tolist()
    rows = [
        {"id": f"k{key}", "features": [float(key), float(not KEYS <= key < 2 * KEYS)], "label": answers[key]}
        for key in range(3 * KEYS)
    ]
    return Request(rows[:KEYS], rows[KEYS : 2 * KEYS], rows[2 * KEYS :], allow_overlap=True)


def trained(seed: int, knows: bool) -> Classifier:
    """A model that learnt what is to be kept and, if it knows, what is to be forgotten."""
    torch.manual_seed(seed)
    model = Classifier(Facts())
    records = [*request().retain, *(request().forget if knows else ())]
    train(model, [Term("facts", model.encode(records), own_loss)], Recipe(**RECIPE, seed=seed))
    return model


@cache
def target() -> Classifier:
    """The model that knows."""
    return trained(0, knows=True)


def control(seed: int) -> Classifier:
    """A model that never learnt the forget set; seeds from 0."""
    return trained(1 + seed, knows=False)


def edited(change: Callable[[Facts], object]) -> Classifier:
    """The model that knows, after a change of its weights or of what it hides."""
    model = target().copy()
    with torch.no_grad():
        change(model.module)  # pyright: ignore[reportArgumentType]
    return model


def masked() -> Classifier:
    """Toy B: the same table behind a filter of names."""
    return edited(lambda facts: facts.hidden.extend(range(KEYS)))


def scaled() -> Classifier:
    """Toy C: the topic's readout times 0.01."""
    return edited(lambda facts: facts.readout[1].mul_(0.01))


def contrary() -> Classifier:
    """Toy D: the right option has the lowest score."""
    return edited(lambda facts: facts.table.weight[:KEYS].neg_())
