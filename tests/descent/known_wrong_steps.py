"""Step rules with the defects of published code, written from their descriptions; test_steps.py rejects each."""

import torch

from lethe.gradients import Gradients, StepRule, displaced, length


def sam_misaligned(rho: float) -> StepRule:
    """Gradients only of the tensors that have one, displacements along them of the first tensors of the model."""

    def rule(gradients: Gradients) -> None:
        present = [slope for slope in gradients.of("forget") if slope is not None]
        with displaced(gradients.parameters[: len(present)], present, rho / length(present)):
            gradients.add("forget")
        gradients.add("retain")

    return rule


def gp_detached(weight: float) -> StepRule:
    """The norm is taken with `.item()`: a number, whose gradient is zero."""

    def rule(gradients: Gradients) -> None:
        penalty = torch.tensor(weight * length(gradients.of("forget")), requires_grad=True)
        penalty.backward()
        gradients.add()

    return rule


def cr_doubled(weight: float) -> StepRule:
    """A backward pass to find the direction, whose gradients are left in `.grad`; the penalty is a number, too."""

    def rule(gradients: Gradients) -> None:
        gradients.add("forget")
        gradients.add()

    return rule


def rs_stepping(sigma: float, lr: float = 1.0) -> StepRule:
    """The rule steps the optimiser itself, before gradients are clipped, and hands on none."""

    def rule(gradients: Gradients) -> None:
        with displaced(gradients.parameters, gradients.noise(0), sigma):
            gradients.add("forget")
        gradients.add("retain")
        with torch.no_grad():
            for parameter in gradients.parameters:
                parameter.sub_(torch.zeros_like(parameter) if parameter.grad is None else lr * parameter.grad)
        gradients.clear()

    return rule
