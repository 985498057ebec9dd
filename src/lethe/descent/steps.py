"""Step rules: how the gradients of one step are formed. Each composes with every objective that it makes sense for.

All of them smooth what unlearning converges to, so that relearning starts from a flat place (SAM-Unlearn, Fan et al.,
arXiv 2502.05374). They act on the forget terms (averaging: on the weights); the retain terms keep their plain gradient
at the weights themselves. Weights that may not move, frozen or outside a mask, are neither displaced nor drawn. At
strength 0 each is the plain step, bit for bit.

The paper's runs on Zephyr-7B (WMDP, AdamW, 125 steps of 4 texts, linear decay, 10 % warm-up) went with
    sam  rho 0.01                 lr 5e-6    beta 0.015   retain weight 2.25
    rs   sigma 1e-4, 3 draws      lr 1e-5    beta 0.0125  retain weight 2
    gp   weight 10                lr 7.5e-6  beta 0.04    retain weight 1
    cr   weight 10, mu 0.01       lr 8.5e-6  beta 0.035   retain weight 1
    wa   from step 100, every 5   lr 5.5e-6  beta 0.05    retain weight 2
    none                          lr 5e-6    beta 0.0225  retain weight 1
with an NPO on batch means of nats per token, whose beta says nothing about that of summed answers; and its gp was
plain NPO in effect (the released penalty is a number without gradient).
"""

from __future__ import annotations

import math

from lethe.descent.averaging import wa
from lethe.descent.curvature import cr, gp
from lethe.errors import InputError
from lethe.gradients import Gradients, StepRule, displaced, length
from lethe.gradients import plain as ordinary


def plain() -> StepRule:
    """The ordinary step; one forward and backward pass per term."""
    return ordinary


def sam(*, rho: float = 0.01) -> StepRule:
    """Sharpness-aware minimisation of the forget term (arXiv 2502.05374, section 4).

    The forget gradient is taken at theta + rho g / ||g||, the point of the ball where forgetting is worst, the retain
    gradient at theta. Cost: 2 forward and backward passes of the forget terms (plain: 1), so 3 in place of 2 with a
    retain term; memory for a copy of the moving weights and of their gradient.

    Args:
        rho: Radius of the ball, joint L2 norm over all weights that may move (so it grows with their number); 0 is the
            plain step.

    Raises:
        InputError: If rho is negative.
    """
    if not 0 <= rho < math.inf:
        raise InputError(f"sam: rho is {rho}; the radius must be a finite number of at least 0.")

    def rule(gradients: Gradients) -> None:
        if rho == 0 or not gradients.has("forget"):
            gradients.add()
            return
        slope = gradients.of("forget")
        with displaced(gradients.parameters, slope, rho / length(slope)):
            gradients.add("forget")
        gradients.add("retain")

    return rule


def rs(*, sigma: float = 1e-4, draws: int = 3) -> StepRule:
    """Randomised smoothing of the forget term: its mean gradient under Gaussian noise on the weights.

    Minimises the mean of the forget loss over theta + sigma N(0, I); the noise is per coordinate, not scaled to the
    weights, and drawn anew in every step. The logged forget loss is that of the first draw. Cost: `draws` forward and
    backward passes of the forget terms (plain: 1); memory for noise, a copy of the moving weights and a gradient.

    Args:
        sigma: Standard deviation of the noise on each weight; 0 is the plain step.
        draws: Noisy points per step whose gradients are averaged.

    Raises:
        InputError: If sigma is negative, or there is no draw.
    """
    if not 0 <= sigma < math.inf:
        raise InputError(f"rs: sigma is {sigma}; the noise must have a finite standard deviation of at least 0.")
    if draws < 1:
        raise InputError(f"rs: draws is {draws}; at least one noisy point is needed.")

    def rule(gradients: Gradients) -> None:
        if sigma == 0 or not gradients.has("forget"):
            gradients.add()
            return
        for draw in range(draws):
            with displaced(gradients.parameters, gradients.noise(draw), sigma):
                slope = gradients.of("forget")
            gradients.give(slope, 1 / draws)
        gradients.add("retain")

    return rule


RULES = {"plain": plain, "sam": sam, "rs": rs, "gp": gp, "cr": cr, "wa": wa}
