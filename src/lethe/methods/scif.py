"""Selective and collaborative influence function."""

import torch
from torch import Tensor

from lethe.descent.interactions import Pairs, pairs_of, parted, ranking_curvature, ranking_gradient, rows_of, tables
from lethe.errors import InputError
from lethe.losses.newton import conjugate_gradient
from lethe.models.recommender import Recommender
from lethe.registry import method
from lethe.request import Request


@method(
    families={"recommender"}, needs={"scores"}, intent="removal", level="parameter", paper="2304.10199",
    requires={"forget", "retain"},
)  # fmt: skip
def scif(
    model: Recommender,
    request: Request,
    *,
    items: bool = False,
    at_minimum: bool = False,
    alpha: float = 1.0,
    damping: float = 1.0,
    iterations: int = 30,
    negatives: int = 4,
    seed: int | None = None,
) -> Recommender:
    """SCIF: the embeddings of the users concerned move to where their neighbours' taste stands for what is forgotten.

    A Newton step on the loss in which each forgotten interaction has, instead of its own label, the average one of the
    user's neighbours (users with an item in common, by how many): g = gradient with the own labels - gradient with the
    average ones - gradient of the whole loss with its ||theta||^2. The last is 0 at its minimum; elsewhere it is to be
    taken off, not added.

    Args:
        items: The forgotten items' embeddings move as well.
        at_minimum: Take the model for the minimum of its loss and leave the whole loss's gradient out.
        alpha: Factor of the step.
        damping: Weight of ||theta||^2 / 2 beside the summed loss.
        iterations: Most iterations of conjugate gradient.
        negatives: Items drawn against each interaction, once.
        seed: Seed of the draw; the request's where none is given.

    Raises:
        InputError: If a number is out of range.
    """
    if not damping > 0 or min(iterations, negatives) < 1:
        raise InputError(
            f"scif: damping={damping:g} must be above 0, iterations={iterations} and negatives={negatives} at least 1."
        )
    forget, retain, moved = parted(model, request, negatives, seed)
    aims = neighbours_aims(moved, forget)
    own, average = (ranking_gradient(moved, forget, y) for y in (None, aims))
    g = own - average
    if not at_minimum:
        theta = tables(moved)
        g = g - own - ranking_gradient(moved, retain) - damping * theta.flat(theta.tensors)
    net = model.net
    deleted = pairs_of(request.forget, model.device)
    chosen = [torch.zeros(count, dtype=torch.bool, device=model.device) for count in (net.users, net.items)]
    chosen[0][deleted[0]] = True
    chosen[1][deleted[1]] = items
    moving = rows_of(model, *chosen)
    product = ranking_curvature(moved, forget.joined(retain), damping, moving)
    tables(moved).add(alpha * conjugate_gradient(product, g * moving, iterations, 1e-4))
    return moved


def neighbours_aims(model: Recommender, pairs: Pairs) -> Tensor:
    """Of the user's neighbours that have one of the two items, the share that has the first, (M,); 1/2 where none has.

    A neighbour counts once for every item in common, on the graph as it is; nobody is a neighbour of themselves.
    """
    net = model.net
    users, items = net.edges
    aims = torch.full((len(pairs),), 0.5, dtype=torch.float64, device=model.device)
    for user in pairs.users.unique():
        own = torch.zeros(net.items, dtype=torch.float64, device=model.device)
        own[items[users == user]] = 1.0
        common = torch.zeros(net.users, dtype=torch.float64, device=model.device).index_add_(0, users, own[items])
        common[user] = 0.0
        liked = torch.zeros_like(own).index_add_(0, items, common[users])
        mine = pairs.users == user
        first, second = liked[pairs.items[mine]], liked[pairs.negatives[mine]]
        both = first + second
        aims[mine] = torch.where(both > 0, first / both.clamp(min=1), 0.5)
    return aims
