"""The gradients of one training step, exact however its batch is cut into micro-batches or spread over processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, SupportsFloat

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from lethe.data.order import mix, shares
from lethe.distributed import Replicas, like, whole
from lethe.errors import InputError
from lethe.losses.tokens import wide
from lethe.models.base import Batch, Example, Model
from lethe.recipe import Recipe

LossFunction = Callable[[Any, Batch], Tensor]  # the model is of the family that the term is for
Direction = Sequence[Tensor | None]  # one tensor per weight tensor; None is 0


@dataclass(frozen=True)
class Term:
    """One summand of the training loss.

    `loss` returns one value per example, (B,). With `per="token"` the sum of the values is divided by the number of
    scored tokens of the effective batch (a token mean), with "example" by the number of examples. "batch" is for
    losses that are no sum over examples: they return one number and admit neither accumulation nor several processes.
    """

    name: str
    examples: Sequence[Example]
    loss: LossFunction
    per: Literal["token", "example", "batch"] = "example"
    weight: SupportsFloat = 1.0  # at 0 the loss is logged and moves nothing; read at every step, so it may be `Carried`
    role: Literal["forget", "retain"] = "retain"
    active: Callable[[int], bool] = lambda epoch: True
    pool: str = ""  # terms of one pool share one denominator: the count over all of them


@dataclass(frozen=True)
class Setting:
    """What is the same in every step of a run."""

    model: Model
    terms: Sequence[Term]
    recipe: Recipe
    replicas: Replicas
    parameters: Mapping[str, nn.Parameter]
    masks: Mapping[str, Tensor]

    def batch(self, step: int, term: Term, rows: list[int]) -> Batch:
        """The whole batch of a term, the same on every process, so that what is sampled with it is the same, too."""
        rng = torch.Generator().manual_seed(mix(self.recipe.seed, 17, step, self._number(term)))
        return self.model.collate(self.model.picked(term.examples, rows), rows, rng)

    def backward(self, step: int, term: Term, batch: Batch, total: int, along: Direction | None) -> float:
        """Add one term's gradient, divided by the whole batch's count, to `.grad`; returns the term's value.

        With `along`, what is added is the product of the term's Hessian with that direction.
        """
        rank, processes = self.replicas.rank, self.replicas.count
        # Dropout and the like are a function of the step, so that a resumed run, and SAM's second pass, draw the same.
        _seed(mix(self.recipe.seed, 11, step, rank, self._number(term)), self.replicas.device)
        bf16 = self.recipe.precision == "bf16"
        weight = float(term.weight)
        moves = weight != 0
        value = 0.0
        for positions, real in shares(len(batch), self.recipe.accumulate, rank, processes):
            part = (batch if len(positions) == len(batch) else batch.take(positions)).to(self.replicas.device)
            with (
                torch.set_grad_enabled(moves),
                torch.autocast(part.labels.device.type, torch.bfloat16) if bf16 else nullcontext(),
                # The fused kernels of attention have no second derivative.
                nullcontext() if along is None else sdpa_kernel(SDPBackend.MATH),
            ):
                values = term.loss(self.model, part)
            share = values.mean() if term.per == "batch" else wide(values).sum() / total
            if moves:
                if not share.requires_grad:
                    raise InputError(
                        f"The loss {term.name!r} depends on no weight that may move; choose other weights."
                    )
                scaled = share * (weight * self.replicas.loss_scale * real)
                if along is None:
                    scaled.backward()
                else:
                    _hessian_product(scaled, list(self.parameters.values()), along)
            else:
                self.replicas.reshard(self.model.module)
            value += float(share.detach()) * real
        return self.replicas.sum(value)

    def _number(self, term: Term) -> int:
        return next(number for number, other in enumerate(self.terms) if other is term)


class Gradients:
    """The gradients of one step, on demand. Step rules ask for them as often as they like; the data stay fixed."""

    def __init__(self, setting: Setting, step: int, rows: Mapping[str, list[int]]) -> None:
        self._setting, self._step = setting, step
        self.rows = rows  # of every term's examples, those of this step
        self._terms = [term for term in setting.terms if term.name in rows]
        self._batches = {term.name: setting.batch(step, term, rows[term.name]) for term in self._terms}
        self._counts = {term.name: _count(term, rows[term.name]) for term in self._terms}
        self.parameters = list(setting.parameters.values())
        self.losses: dict[str, float] = {}  # of the first pass: as a rule at the weights that the step starts from

    def has(self, role: str) -> bool:
        """Whether a term of this role takes part in the step."""
        return any(term.role == role for term in self._terms)

    def add(self, role: str | None = None, along: Direction | None = None) -> None:
        """Add the gradients of the terms with this role (all without one) to `.grad`; 0 where a mask forbids moving.

        With `along`, the product of the Hessian with that direction is added instead of the gradient.

        Raises:
            InputError: If a Hessian is asked of sharded weights or of an operation without second derivative.
        """
        if along is not None and self._setting.replicas.parallel == "fsdp":
            raise InputError(
                "This step rule needs second derivatives, which weights sharded by parallel=fsdp do not offer; "
                "use parallel=ddp, or a rule made of gradients alone (sam, rs, wa)."
            )
        with self._setting.replicas.summed(self.parameters):
            for term in self._terms:
                if role in (None, term.role):
                    batch = self._batches[term.name]
                    value = self._setting.backward(self._step, term, batch, self._total(term), along)
                    self.losses.setdefault(term.name, value)
        for name, mask in self._setting.masks.items():
            gradient = self._setting.parameters[name].grad
            if gradient is not None:
                gradient.mul_(mask)

    def of(self, role: str, along: Direction | None = None) -> list[Tensor | None]:
        """What `add` would add, by itself; `.grad` stays as it is."""
        before = [parameter.grad for parameter in self.parameters]
        self.clear()
        try:
            self.add(role, along)
            return [parameter.grad for parameter in self.parameters]
        finally:
            for parameter, gradient in zip(self.parameters, before, strict=True):
                parameter.grad = gradient

    def give(self, amounts: Direction, scale: float = 1.0) -> None:
        """Add `scale` times these tensors to `.grad`."""
        for parameter, amount in zip(self.parameters, amounts, strict=True):
            if amount is not None:
                parameter.grad = amount * scale if parameter.grad is None else parameter.grad.add_(amount, alpha=scale)

    def noise(self, draw: int) -> list[Tensor]:
        """Standard normal numbers shaped as the weights, 0 where a mask forbids moving: a function of seed and step."""
        drawn = []
        for number, (name, parameter) in enumerate(self._setting.parameters.items()):
            rng = torch.Generator(parameter.device)
            rng.manual_seed(mix(self._setting.recipe.seed, 19, self._step, draw, number))
            full = torch.randn(parameter.shape, generator=rng, dtype=parameter.dtype, device=parameter.device)
            laid_out = like(full, parameter)  # every process draws the whole, and keeps its part
            drawn.append(laid_out * self._setting.masks[name] if name in self._setting.masks else laid_out)
        return drawn

    def clear(self) -> None:
        """Drop all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def _total(self, term: Term) -> int:
        return sum(self._counts[t.name] for t in self._terms if t is term or (term.pool and t.pool == term.pool))


StepRule = Callable[[Gradients], None]


def plain(gradients: Gradients) -> None:
    """The ordinary step: the gradient of the sum of all terms."""
    gradients.add()


def length(direction: Direction) -> float:
    """Joint L2 norm of all tensors, also of sharded ones; at least 1e-12, so that 0 divided by it is 0."""
    return max(float(whole(nn.utils.get_total_norm([tensor for tensor in direction if tensor is not None]))), 1e-12)


@contextmanager
def displaced(parameters: Sequence[nn.Parameter], direction: Direction, scale: float) -> Iterator[None]:
    """Weights moved by `scale` times the direction; put back from a copy (exact), also when the body raises."""
    moving = [(p, towards) for p, towards in zip(parameters, direction, strict=True) if towards is not None]
    before = [parameter.detach().clone() for parameter, _ in moving]
    try:
        with torch.no_grad():
            for parameter, towards in moving:
                parameter.add_(towards, alpha=scale)
        yield
    finally:
        with torch.no_grad():
            for (parameter, _), value in zip(moving, before, strict=True):
                parameter.copy_(value)


def _count(term: Term, rows: list[int]) -> int:
    return sum(term.examples[row].size for row in rows) if term.per == "token" else len(rows)


def _hessian_product(value: Tensor, parameters: Sequence[nn.Parameter], direction: Direction) -> None:
    """Add H v to `.grad`, as the gradient of the slope of `value` along the fixed direction v."""
    try:
        slopes: list[Tensor | None] = list(torch.autograd.grad(value, parameters, create_graph=True, allow_unused=True))
        parts = [
            (slope * towards).sum()
            for slope, towards in zip(slopes, direction, strict=True)
            if slope is not None and towards is not None and slope.requires_grad
        ]
        if parts:  # there are none where the loss is linear in the weights
            torch.stack(parts).sum().backward()
    except RuntimeError as error:
        told = str(error).splitlines()[0]
        if "derivative" in told or "differentiate twice" in told:
            raise InputError(
                f"This step rule needs second derivatives, which an operation of the model does not offer ({told}); "
                "use a rule made of gradients alone (sam, rs, wa)."
            ) from error
        raise


def _seed(seed: int, device: torch.device) -> None:
    """`torch.manual_seed` for the devices in use; for each that is not there it would spend a quarter millisecond."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)
