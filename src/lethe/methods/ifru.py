"""Influence-function based recommendation unlearning."""

import torch
from torch import Tensor

from lethe.descent.interactions import importance, pairs_of, parted, ranking_curvature, rows_of, tables, withdrawn
from lethe.errors import InputError
from lethe.losses.newton import conjugate_gradient
from lethe.models.recommender import Recommender
from lethe.registry import method
from lethe.request import Request


@method(
    families={"recommender"}, needs={"scores"}, intent="removal", level="parameter", paper="2307.02147",
    requires={"forget", "retain"},
)  # fmt: skip
def ifru(
    model: Recommender,
    request: Request,
    *,
    hops: int = 2,
    keep: float = 1.0,
    spillover: bool = True,
    alpha: float = 1.0,
    damping: float = 1.0,
    iterations: int = 30,
    negatives: int = 4,
    seed: int | None = None,
) -> Recommender:
    """IFRU: one influence step over the embeddings that the forgotten interactions matter to, near them in the graph.

    theta_S + H_SS^-1 g_S, g the gradient of the forgotten interactions and what their edges carried to others, S the
    users and items of importance: the share of a node's edges that is deleted, passed on to its neighbours. The paper
    searches for the step by Adam at rates of 1e4 and for its length on validation data; here conjugate gradient solves
    for it.

    Args:
        hops: Steps over the graph from the deleted edges; 0 moves their users and items alone.
        keep: Share of the nodes of positive importance that may move, the most important ones, 0 to 1.
        spillover: Count what the deleted edges carried to interactions that stay.
        alpha: Factor of the step.
        damping: Weight of ||theta||^2 / 2 beside the summed loss.
        iterations: Most iterations of conjugate gradient.
        negatives: Items drawn against each interaction, once.
        seed: Seed of the draw; the request's where none is given.

    Raises:
        InputError: If a number is out of range.
    """
    if not damping > 0 or min(iterations, negatives) < 1 or hops < 0 or not 0 < keep <= 1:
        raise InputError(
            f"ifru: damping={damping:g} must be above 0, iterations={iterations} and negatives={negatives} at least 1, "
            f"hops={hops} not negative, keep={keep:g} between 0 and 1."
        )
    forget, retain, moved = parted(model, request, negatives, seed)
    g = withdrawn(model, moved, forget, retain, spillover)
    net = model.net
    near = importance(net.edges, pairs_of(request.forget, model.device), net.users, net.items, hops)
    moving = rows_of(model, *_foremost(near, keep))
    product = ranking_curvature(moved, retain, damping, moving)
    tables(moved).add(alpha * conjugate_gradient(product, g * moving, iterations, 1e-4))
    return moved


def _foremost(near: tuple[Tensor, Tensor], keep: float) -> list[Tensor]:
    """The users (U,) and items (I,) of the largest positive importance, as many as the share of them says."""
    every = torch.cat(near)
    lowest = torch.quantile(every[every > 0], 1 - keep)
    return [(one > 0) & (one >= lowest) for one in near]
