"""Reverse beside forward Bayesian personalised ranking."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.losses import ranking
from lethe.models.base import Batch
from lethe.models.graphs import Graph
from lethe.models.recommender import Recommender
from lethe.request import Record, Request
from lethe.train import Term

# Rate, batch and decay of the rate are those of the host framework; the paper tunes alpha.
PAPER = {"alpha": 0.2, "lr": 1e-3, "batch_size": 2048, "epochs": 20}


@objective(
    families={"recommender"}, needs={"scores"}, paper="2405.15328", retain=None, requires={"retain"},
    presets={"paper": PAPER},
)  # fmt: skip
def mmrecun(model: Recommender, request: Request, *, alpha: float = 0.2, rebuild_graph: bool = True) -> list[Term]:
    """MMRecUn: withdrawn interactions are trained below random items, all others with the recommender's whole loss.

    An epoch is a pass over what stays; what is to be forgotten is drawn in turns beside it. Where an item's content is
    withdrawn (records with a "modality"), the content goes first, and what is left is the forward loss on all
    interactions: they stay.

    Args:
        alpha: Weight of the reverse term, 0 to 1; the loss on what stays has 1 - alpha.
        rebuild_graph: Take the withdrawn interactions out of the graph; left in, they go on carrying what they carried.

    Raises:
        InputError: If alpha is out of range.
    """
    if not 0 <= alpha <= 1:
        raise InputError(f"mmrecun: alpha is {alpha:g}; it is a share, 0 to 1.")
    withdrawn = [record for record in request.forget if "modality" not in record]
    if rebuild_graph:
        model.without(withdrawn)

    forgotten = Graph(model.net.users, model.net.items, _edges(withdrawn)).to(model.device)

    def reverse(model: Recommender, batch: Batch) -> Tensor:
        # Of two withdrawn items of one user neither may be lifted above the other.
        measures = ~forgotten.holds(batch.inputs["users"], batch.inputs["negatives"])
        return measures * ranking.reverse_bpr(*model.margins(batch))

    weight = 1 - alpha if withdrawn else 1.0
    terms = [Term("retain", model.encode(request.retain), own_loss, weight=weight)]
    if withdrawn:
        terms.append(Term("forget", model.encode(withdrawn), reverse, role="forget", weight=alpha))
    return terms


def _edges(records: Sequence[Record]) -> Tensor:
    """Users and items (2, E)."""
    return torch.tensor([[int(record[side]) for record in records] for side in ("user", "item")], dtype=torch.long)
