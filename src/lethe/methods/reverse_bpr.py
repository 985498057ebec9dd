"""Reverse Bayesian personalised ranking."""

from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.terms import own_loss
from lethe.losses import ranking
from lethe.models.base import Batch
from lethe.models.recommender import Recommender
from lethe.request import Request
from lethe.train import Term


@objective(families={"recommender"}, needs={"scores"}, paper="2405.15328", retain=None, requires={"retain"})
def reverse_bpr(model: Recommender, request: Request, *, alpha: float = 0.2, rebuild_graph: bool = True) -> list[Term]:
    """Reverse BPR: forgotten items are trained to rank below random ones, all others as before.

    What MMRecUn adds is the recommender's whole loss on what stays, over which its epochs run: see `mmrecun`.

    Args:
        alpha: Weight of the reverse term; the retain term has 1 - alpha.
        rebuild_graph: Take the forgotten edges out of the graph; left in, they go on carrying what they carried.
    """
    if rebuild_graph:
        model.without(request.forget)

    def reverse(model: Recommender, batch: Batch) -> Tensor:
        return ranking.reverse_bpr(*model.margins(batch))

    return [
        Term("forget", model.encode(request.forget), reverse, role="forget", weight=alpha),
        Term("retain", model.encode(request.retain), own_loss, weight=1 - alpha),
    ]
