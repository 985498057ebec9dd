"""Graph influence functions."""

from typing import Literal

from lethe.descent.interactions import parted, ranking_curvature, tables, withdrawn
from lethe.errors import InputError
from lethe.losses.curvature import neumann
from lethe.losses.newton import conjugate_gradient
from lethe.models.recommender import Recommender
from lethe.registry import method
from lethe.request import Request


@method(
    families={"recommender"},
    needs={"scores"},
    intent="removal",
    level="parameter",
    paper="2304.02835",
    requires={"forget", "retain"},
    presets={"paper": {"solver": "series", "iterations": 5, "scale": 50.0, "damping": 0.0}},
)
def gif(
    model: Recommender,
    request: Request,
    *,
    structural: bool = True,
    solver: Literal["cg", "series"] = "cg",
    alpha: float = 1.0,
    damping: float = 1.0,
    iterations: int = 30,
    scale: float = 50.0,
    negatives: int = 4,
    seed: int | None = None,
) -> Recommender:
    """GIF: one influence step over all embeddings, with what the deleted edges carried to interactions that stay.

    theta + H^-1 v, v = the gradient of the forgotten interactions, and (structural) the gradient of the others on the
    old graph less that on the new one. H is the Gauss-Newton matrix of the summed loss of what stays, on the new graph.

    Args:
        structural: False leaves the second part out: plain influence (IF), which misses what the edges carried.
        solver: cg solves to the damped matrix's inverse by conjugate gradient; series is the paper's iteration
            h <- v + (1 - damping) h - H h / scale.
        alpha: Factor of the step.
        damping: Weight of ||theta||^2 / 2 beside the summed loss (cg); share of h that is lost per iteration (series).
        iterations: Most iterations of either.
        scale: Above half the largest curvature (series); published values reach 1e9.
        negatives: Items drawn against each interaction, once.
        seed: Seed of the draw; the request's where none is given.

    Raises:
        InputError: If a number is out of range, or the series diverges.
    """
    if damping < 0 or (solver == "cg" and not damping) or min(iterations, negatives) < 1 or not scale > 0:
        raise InputError(
            f"gif: damping={damping:g} must be above 0 (series: or 0), scale={scale:g} above 0, "
            f"iterations={iterations} and negatives={negatives} at least 1."
        )
    forget, retain, moved = parted(model, request, negatives, seed)
    v = withdrawn(model, moved, forget, retain, structural)
    if solver == "cg":
        step = conjugate_gradient(ranking_curvature(moved, retain, damping), v, iterations, 1e-4)
    else:
        step = neumann(ranking_curvature(moved, retain, 0.0), v, iterations, scale, damping)
    tables(moved).add(alpha * step)
    return moved
