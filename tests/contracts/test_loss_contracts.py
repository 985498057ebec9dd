"""Every loss in lethe.losses keeps the promise of its decorator: found by reading the package, never listed here.

One small world holds every quantity a loss may ask for by name. Its hidden states are the only free parameter, and its
logits a rotation of them, so that any loss can be asked the same question: does minimising it make the answer less
likely (it forgets) or more likely? The frozen reference knows the answer better than the model does.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial, update_wrapper
from typing import Literal, get_args, get_origin

import pytest
import torch
from torch import Tensor

from lethe.losses.catalogue import loss, losses, promise
from lethe.losses.divergence import forward_kl, kl
from lethe.losses.misdirection import rmu_direction
from lethe.losses.tokens import cross_entropy, sequence_nll, token_mean, valid

ROWS, LENGTH, VOCABULARY = 4, 5, 8
Loss = Callable[..., Tensor]


@dataclass(frozen=True)
class World:
    """Hidden states of the model and of its frozen reference (B, T, V), and the answers (B, T)."""

    hidden: Tensor
    reference: Tensor
    labels: Tensor
    alternatives: Tensor
    offset: Tensor = field(default_factory=lambda: torch.zeros(1, 1, 1))  # added to all logits of a position (1, T, 1)

    @property
    def quantities(self) -> dict[str, Tensor]:
        """Everything a loss may name as an argument."""
        rotation = ROTATION.to(self.hidden.dtype)
        offset = self.offset.to(self.hidden.dtype)
        logits, ref_logits = self.hidden @ rotation + offset, self.reference @ rotation - offset
        first = self.labels[:, :1].clamp(min=0)
        return {
            "logits": logits,
            "ref_logits": ref_logits,
            "labels": self.labels,
            "alt_logits": logits,
            "alt_labels": self.alternatives,
            "ref_token_nll": cross_entropy(ref_logits, self.labels),
            "nll": sequence_nll(logits, self.labels),
            "ref_nll": sequence_nll(ref_logits, self.labels),
            "alt_nll": sequence_nll(logits, self.alternatives),
            "alt_ref_nll": sequence_nll(ref_logits, self.alternatives),
            "baseline": torch.tensor(0.3, dtype=self.hidden.dtype),
            "sizes": valid(self.labels).sum(1),
            "hidden": self.hidden,
            "target": TARGET.to(self.hidden.dtype),
            "mask": valid(self.labels),
            "student": logits[:, 0],
            "teacher": ref_logits[:, 0],
            "pos": logits[:, 0].gather(1, first).squeeze(1),
            "neg": logits[:, 0].gather(1, (first + 1) % VOCABULARY).squeeze(1),
        }

    def nll(self) -> Tensor:
        """How unlikely each answer is (B,)."""
        return self.quantities["nll"]


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


ROTATION = torch.linalg.qr(torch.randn(VOCABULARY, VOCABULARY, generator=draw(0), dtype=torch.float64)).Q
TARGET = 4 * rmu_direction(VOCABULARY, draw(1)).double()


def world() -> World:
    """Answers of 2, 3, 4 and 5 tokens, likelier than chance under the model and certain under the reference."""
    labels = torch.randint(VOCABULARY, (ROWS, LENGTH), generator=draw(2))
    alternatives = (labels + 3) % VOCABULARY
    knows = torch.nn.functional.one_hot(labels, VOCABULARY).double() @ ROTATION.T
    unscored = torch.arange(LENGTH) >= torch.arange(2, 2 + ROWS).unsqueeze(1)
    noise = torch.randn(ROWS, LENGTH, VOCABULARY, generator=draw(3), dtype=torch.float64)
    return World(
        hidden=(3 * knows + 0.3 * noise).requires_grad_(),
        reference=(6 * knows).requires_grad_(),
        labels=labels.masked_fill(unscored, -100),
        alternatives=alternatives.masked_fill(unscored, -100),
    )


def ask(function: Loss, about: World) -> Tensor:
    """The loss, given the quantities it names."""
    required = [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    unknown = set(required) - set(about.quantities)
    assert not unknown, f"no such quantity: {unknown} (lethe.losses.catalogue lists them)"
    return function(**{name: about.quantities[name] for name in required})


def has_one_value_per_example_or_token(function: Loss) -> None:
    """The shape that its kind says, and no row depends on another row."""
    whole, kept = world(), promise(function)
    assert kept is not None
    values = ask(function, whole)
    assert values.shape == ((ROWS, LENGTH) if kept.kind == "token" else (ROWS,))
    for row in range(ROWS):
        alone = World(*(part[row : row + 1] for name, part in vars(whole).items() if name != "offset"))
        assert torch.allclose(ask(function, alone)[0], values[row], rtol=0, atol=1e-12)


def padded(short: World) -> World:
    """Three ignored positions more, with anything at all in them."""
    garbage = 50 * torch.randn(2, ROWS, 3, VOCABULARY, generator=draw(4), dtype=torch.float64)
    ignored = torch.full((ROWS, 3), -100)
    return World(
        torch.cat([short.hidden, garbage[0]], 1),
        torch.cat([short.reference, garbage[1]], 1),
        torch.cat([short.labels, ignored], 1),
        torch.cat([short.alternatives, ignored], 1),
    )


def ignores_padding(function: Loss) -> None:
    """Positions labelled -100 change no value, and are worth 0 themselves."""
    short = world()
    values, longer = ask(function, short), ask(function, padded(short))
    if longer.dim() == 2:
        assert (longer[:, LENGTH:] == 0).all()
        assert (longer[:, :LENGTH][short.labels == -100] == 0).all()
        longer = longer[:, :LENGTH]
    assert torch.allclose(longer, values, rtol=0, atol=1e-12)


def stays_finite(function: Loss) -> None:
    """Float32 values and finite gradients for certain, impossible and empty answers, from float32 and bfloat16."""
    plain = world()
    labels, alternatives = plain.labels.clone(), plain.alternatives.clone()
    labels[0], alternatives[0] = -100, -100
    for dtype in (torch.float32, torch.bfloat16):
        for scale in (1000, -1000):
            hidden = (scale * plain.hidden.detach()).to(dtype).requires_grad_()
            reference = (-scale * plain.reference.detach()).to(dtype)
            values = ask(function, World(hidden, reference, labels, alternatives))
            assert values.dtype == torch.float32
            assert torch.isfinite(values).all()
            (gradient,) = torch.autograd.grad(values.sum(), hidden)
            assert torch.isfinite(gradient).all()


def moves_the_answer_as_promised(function: Loss) -> None:
    """One small step of descent on a row's loss makes its answer less likely, or more: in every row."""
    start, kept = world(), promise(function)
    assert kept is not None
    (direction,) = torch.autograd.grad(ask(function, start).sum(), start.hidden)
    step = 1e-4 * direction / direction.flatten(1).norm(dim=1)[:, None, None]
    change = replace(start, hidden=start.hidden.detach() - step).nll() - start.nll()
    assert (change > 0).all() if kept.forgets else (change < 0).all()


def trains_the_model_alone(function: Loss) -> None:
    """The frozen side gets no gradient, even where it could, and no byte of it changes in a step."""
    both = world()
    before = both.reference.detach().clone()
    optimizer = torch.optim.AdamW([both.hidden, both.reference], lr=0.1)
    ask(function, both).sum().backward()
    optimizer.step()
    assert both.reference.grad is None
    assert torch.equal(both.reference, before)
    assert both.hidden.grad is not None
    assert both.hidden.grad.abs().sum() > 0


def sees_only_distributions(function: Loss) -> None:
    """A constant added to all logits of a position changes nothing: what counts is what the softmax makes of them."""
    plain = world()
    lifted = replace(plain, offset=torch.linspace(-3, 5, LENGTH).view(1, LENGTH, 1))
    assert torch.allclose(ask(function, lifted), ask(function, plain), rtol=0, atol=1e-12)


CONTRACT = [
    has_one_value_per_example_or_token,
    ignores_padding,
    stays_finite,
    moves_the_answer_as_promised,
    trains_the_model_alone,
    sees_only_distributions,
]


def choices(function: Loss) -> dict[str, tuple[str, ...]]:
    """The options of a loss that are a choice between names, with those names."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    return {p.name: get_args(p.annotation) for p in parameters if get_origin(p.annotation) is Literal}


def every_form() -> dict[str, Loss]:
    """Each loss by name, and in each of its forms; but for compat="reference", which is there to break a rule."""
    found = dict(losses())
    for name, function in losses().items():
        for option, values in choices(function).items():
            for value in values if option != "compat" else ():
                found[f"{name}-{value}"] = update_wrapper(partial(function, **{option: value}), function)
    return found


def reads_a_bare_score(function: Loss) -> bool:
    """What sinks a single score knows no other to compare it with, so a shift of all is no shift to it."""
    names = inspect.signature(function).parameters
    return "pos" in names and "neg" not in names


@pytest.mark.parametrize("rule", CONTRACT, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", every_form())
def test_contract(name: str, rule: Callable[[Loss], None]):
    function = every_form()[name]
    if rule is sees_only_distributions and reads_a_bare_score(function):
        with pytest.raises(AssertionError):
            rule(function)
    else:
        rule(function)


@pytest.mark.parametrize("name", [name for name, function in losses().items() if "compat" in choices(function)])
def test_reference_counts_what_is_masked_otherwise(name: str):
    """What the released code leaves unmasked is offered as such, and its value depends on the padding."""
    as_released = update_wrapper(partial(losses()[name], compat="reference"), losses()[name])
    with pytest.raises(AssertionError):
        ignores_padding(as_released)
    longer = padded(world())
    assert (ask(as_released, longer) != ask(losses()[name], longer)).any()


# --- the contract can fail: one broken loss per rule ------------------------------------------------------------------


@loss(kind="example", forgets=True)
def ascent_on_the_batch_mean(logits: Tensor, labels: Tensor) -> Tensor:
    return -sequence_nll(logits, labels).mean().expand(len(labels))


@loss(kind="token", forgets=False)
def unmasked_kl(ref_logits: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    return kl(ref_logits, logits, labels, compat="reference")


@loss(kind="example", forgets=True)
def npo_by_log_of_sigmoid(nll: Tensor, ref_nll: Tensor) -> Tensor:
    return -torch.log(torch.sigmoid(nll - ref_nll))


@loss(kind="example", forgets=True)
def reverse_bpr_with_two_signs(pos: Tensor, neg: Tensor) -> Tensor:
    return torch.nn.functional.logsigmoid(-(pos - neg))


@loss(kind="example", forgets=False)
def kl_that_trains_its_teacher(teacher: Tensor, student: Tensor) -> Tensor:
    return (teacher.softmax(-1) * (teacher.log_softmax(-1) - student.log_softmax(-1))).sum(-1)


@loss(kind="token", forgets=True)
def npo_on_raw_logits(logits: Tensor, ref_logits: Tensor, labels: Tensor) -> Tensor:
    return -torch.nn.functional.logsigmoid(ref_logits - logits).mean(-1).masked_fill(~valid(labels), 0)


BROKEN: list[Loss] = [
    ascent_on_the_batch_mean,
    unmasked_kl,
    npo_by_log_of_sigmoid,
    reverse_bpr_with_two_signs,
    kl_that_trains_its_teacher,
    npo_on_raw_logits,
]


@pytest.mark.parametrize(("rule", "broken"), list(zip(CONTRACT, BROKEN, strict=True)), ids=lambda f: f.__name__)
def test_contract_rejects(rule: Callable[[Loss], None], broken: Loss):
    with pytest.raises(AssertionError):
        rule(broken)


def test_catalogue_holds_losses_and_nothing_else():
    found = losses()
    assert found["kl"] is kl
    assert {"flat-neyman", "flat-tv", "wga"} <= set(every_form())
    assert not {"valid", "token_mean", "forward_kl", "rmu_direction", "loss", "difference"} & set(found)
    assert promise(token_mean) is None
    assert promise(forward_kl) is None
