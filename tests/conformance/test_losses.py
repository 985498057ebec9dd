"""The numbers and identities that the losses of the literature must satisfy, and known wrong losses that fail them.

The fixture has four tokens in the vocabulary and every logit is written out below; its values were computed in float64
by two independent scripts and are exact to the last printed digit. A check is a function of an implementation: the same
check accepts ours and rejects the known wrong one.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from lethe.losses.ascent import capped_ga, ga
from lethe.losses.divergence import kl, soft_cross_entropy
from lethe.losses.flat import DIVERGENCES, Name, contrast, flat, mean_probability
from lethe.losses.flattening import flatten_logits
from lethe.losses.hinge import ihl
from lethe.losses.misdirection import rmu, rmu_coefficient, rmu_direction
from lethe.losses.preference import ap, dpo, kto, npo, simnpo
from lethe.losses.ranking import bpr, reverse_bpr
from lethe.losses.targets import ceu, jensun_forget, jensun_retain, me, repeated, undial, without_first
from lethe.losses.tokens import cross_entropy, sequence_nll, token_mean, valid
from lethe.losses.weighted import satimp, tnpo, wga, wtnpo
from lethe.losses.weights import difference, shift

from . import known_wrong_losses as wrong

TEN_DIGITS = 1e-9


def logits(*sequences: list[list[float]]) -> Tensor:
    return torch.tensor(sequences, dtype=torch.float64)


Z = logits([[2, 0, 0, -1], [0, 1, 0.5, 0], [0, 0, 0, 0]], [[1, 1, 0, 0], [0, 0, 3, 0], [-1, 0, 0, 2]])
R = logits([[3, 0, 0, -1], [0, 2, 0, 0], [0, 0, 0, 0]], [[0, 0, 1, 0], [0, 0, 4, 0], [0, 0, 0, 3]])
Y = torch.tensor([[0, 1, -100], [2, 2, 3]])
ZA = logits([[0, 0, 1, 0], [0, 0, 0, 0]], [[0, 1, 0, 0], [0, 0, 0, 1]])
RA = torch.zeros_like(ZA)
YA = torch.tensor([[2, -100], [1, 3]])
ZR = logits([[1, 0, 0, 0], [0, 2, 0, 0]])
RR = logits([[1.5, 0, 0, 0], [0, 2, 0.5, 0]])
YR = torch.tensor([[0, 1]])

TWO, HALF = torch.tensor([2.0], dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64)  # item scores

NLL, REF = sequence_nll(Z, Y), sequence_nll(R, Y)
ALT, ALT_REF = sequence_nll(ZA, YA), sequence_nll(RA, YA)
SIZES = valid(Y).sum(1)
RETAIN = token_mean(cross_entropy(ZR, YR), YR)
ASCENT = ga(NLL).sum() / SIZES.sum()
KL = token_mean(kl(RR, ZR, YR), YR)
BASELINE = (ALT_REF - ALT).mean()
MISMATCH = token_mean(cross_entropy(ZA, YA), YA)  # the refusals stand for answers of other questions
LLMU = 0.5 * capped_ga(NLL, SIZES).sum() / SIZES.sum() + MISMATCH
REF_TOKENS = cross_entropy(R, Y)
ALL_BUT_FIRST = without_first(Y, 1)
PF, PE = mean_probability(Z, Y), mean_probability(ZA, YA)


def padded(values: Tensor, *, fill: float, positions: int = 1) -> Tensor:
    """The same batch with positions appended to every sequence."""
    return torch.cat([values, values.new_full((len(values), positions, *values.shape[2:]), fill)], 1)


ZR_PADDED = torch.cat([ZR, logits([[1, 0, 0, 0]])], 1)
RR_PADDED, YR_PADDED = padded(RR, fill=0), padded(YR, fill=-100)


# --- values -----------------------------------------------------------------------------------------------------------


def test_intermediate_values():
    tokens = [0.27797837, 0.85112889, 0, 2.00640887, 0.13920631, 0.27797837]
    assert cross_entropy(Z, Y).flatten().tolist() == pytest.approx(tokens, abs=5e-9)
    assert NLL.tolist() == pytest.approx([1.12910726, 2.42359355], abs=5e-9)
    assert REF.tolist() == pytest.approx([0.45219573, 0.93636514], abs=5e-9)
    assert (NLL - REF).tolist() == pytest.approx([0.67691152, 1.48722841], abs=5e-9)
    assert ALT.tolist() == pytest.approx([0.74366838, 1.48733676], abs=5e-9)
    assert ALT_REF.tolist() == pytest.approx([1.38629436, 2.77258872], abs=5e-9)


def refusal_and_retain() -> Tensor:
    """IDK: one token mean over the refusal batch and the retain batch together."""
    return token_mean(cross_entropy(torch.cat([ZA, ZR]), torch.cat([YA, YR])), torch.cat([YA, YR]))


VALUES: dict[str, tuple[Callable[[], Tensor], float]] = {
    "token mean, forget": (lambda: token_mean(cross_entropy(Z, Y), Y), 0.7105401618),
    "token mean, retain": (lambda: RETAIN, 0.5422106673),
    "GA": (lambda: ASCENT, -0.7105401618),
    "GradDiff": (lambda: ASCENT + RETAIN, -0.1683294946),
    "KL": (lambda: KL, 0.0224174790),
    "PDU": (lambda: flatten_loss(Z, R, Y), 2.3656250000),
    "KL, padded": (lambda: token_mean(kl(RR_PADDED, ZR_PADDED, YR_PADDED), YR_PADDED), 0.0224174790),
    "KL, padded, reference": (lambda: kl(RR_PADDED, ZR_PADDED, YR_PADDED, compat="reference").mean(), 0.0507363259),
    "KL-min": (lambda: ASCENT + KL, -0.6881226828),
    "NPO, beta .01": (lambda: npo(NLL, REF, 0.01).mean(), 137.5507036916),
    "NPO, beta .1": (lambda: npo(NLL, REF, 0.1).mean(), 12.8142228285),
    "NPO, beta 1": (lambda: npo(NLL, REF, 1).mean(), 0.6146616739),
    "NPO, beta 5": (lambda: npo(NLL, REF, 5).mean(), 0.0067840630),
    "NPO + retain": (lambda: npo(NLL, REF).mean() + RETAIN, 13.3564334958),
    "NPO + KL": (lambda: npo(NLL, REF).mean() + KL, 12.8366403075),
    "SimNPO, beta 4.5": (lambda: simnpo(NLL, SIZES, 4.5).mean(), 0.0226459559),
    "SimNPO, beta 2.5": (lambda: simnpo(NLL, SIZES, 2.5).mean(), 0.1371120944),
    "SimNPO, delta .5": (lambda: simnpo(NLL, SIZES, 4.5, 0.5).mean(), 0.1737193801),
    "DPO, beta .1": (lambda: dpo(NLL, REF, ALT, ALT_REF, 0.1).mean(), 11.9344605714),
    "DPO, beta 1": (lambda: dpo(NLL, REF, ALT, ALT_REF, 1).mean(), 0.2974872010),
    "IDK": (refusal_and_retain, 0.6630852953),
    "KTO baseline": (lambda: BASELINE, 0.9639389707),
    "KTO": (lambda: kto(NLL, REF, BASELINE).mean(), 11.9254673710),
    "KTO, sigmoid": (lambda: kto(NLL, REF, BASELINE, variant="sigmoid").mean(), -13.8985682940),
    "KTO, log-sigmoid": (lambda: kto(NLL, REF, BASELINE, variant="logsigmoid").mean(), 6.8904106186),
    "AP": (lambda: ap(sequence_nll(ZR, YR), ALT[1:]).mean(), 6.7320432155),
    "LLMU": (lambda: LLMU + token_mean(soft_cross_entropy(RR, ZR, YR), YR), 1.4616651194),
    "LLMU, KL": (lambda: LLMU + KL, 0.4108157787),
    "WGA, beta 1": (lambda: token_mean(wga(Z, Y, 1), Y), -0.2350655211),
    "WGA, beta 5": (lambda: token_mean(wga(Z, Y, 5), Y), -0.0440106681),
    "SatImp": (lambda: token_mean(satimp(Z, Y, 5, 1), Y), -0.0099246657),
    "SatImp, beta1 1": (lambda: token_mean(satimp(Z, Y, 1, 1), Y), -0.1119358527),
    "TNPO, beta 4": (lambda: token_mean(tnpo(Z, Y, REF_TOKENS, 4), Y), -0.1456238610),
    "TNPO, beta 1": (lambda: token_mean(tnpo(Z, Y, REF_TOKENS, 1), Y), -0.4340377616),
    "WTNPO": (lambda: token_mean(wtnpo(Z, Y, REF_TOKENS, 4, 1.5), Y), -0.0815152264),
    "UNDIAL, beta 3": (lambda: token_mean(undial(R, Z, Y, 3), Y), 1.6992805965),
    "UNDIAL, beta 10": (lambda: token_mean(undial(R, Z, Y, 10), Y), 2.2407964019),
    "UNDIAL, beta 30": (lambda: token_mean(undial(R, Z, Y, 30), Y), 2.2416126425),
    "UNDIAL, beta 3, reference": (lambda: undial(R, Z, Y, 3, "reference").mean(), 1.6471162239),
    "UNDIAL, beta 10, reference": (lambda: undial(R, Z, Y, 10, "reference").mean(), 2.0983793951),
    "UNDIAL, beta 30, reference": (lambda: undial(R, Z, Y, 30, "reference").mean(), 2.0990595956),
    "CE-U": (lambda: token_mean(ceu(Z, Y), Y), 2.1585713278),
    "CE-U, skip 1": (lambda: token_mean(ceu(Z, ALL_BUT_FIRST), ALL_BUT_FIRST), 2.3992481980),
    "ME": (lambda: token_mean(me(Z, Y), Y), 0.4992458007),
    "ME, reference (ULD's retain term)": (lambda: me(Z, Y, "reference").mean(), 0.4160381673),
    "IHL": (lambda: token_mean(ihl(Z, Y), Y), 1.4146603406),
    "JensUn, forget": (lambda: token_mean(jensun_forget(Z, repeated(Y, [2, 3])), Y), 0.5196689882),
    "JensUn, retain": (lambda: token_mean(jensun_retain(RR, ZR, YR), YR), 0.0055021994),
    "FLAT, Pf": (lambda: PF.mean(), 0.5897002124),
    "FLAT, Pe": (lambda: PE.mean(), 0.4753668864),
    "FLAT, TV": (lambda: flat(Z, Y, ZA, YA).mean(), 0.0435761413),
    "FLAT, KL": (lambda: flat(Z, Y, ZA, YA, "kl").mean(), 0.1880863865),
    "FLAT, JS": (lambda: flat(Z, Y, ZA, YA, "js").mean(), 0.1280047147),
    "FLAT, Pearson": (lambda: flat(Z, Y, ZA, YA, "pearson").mean(), 0.2012713785),
    "FLAT, TV, batch means": (lambda: contrast(PE.mean(), PF.mean(), "tv"), 0.0435772597),
    "FLAT, KL, batch means": (lambda: contrast(PE.mean(), PF.mean(), "kl"), 0.1880844394),
    "FLAT, JS, batch means": (lambda: contrast(PE.mean(), PF.mean(), "js"), 0.1280040412),
    "FLAT, Pearson, batch means": (lambda: contrast(PE.mean(), PF.mean(), "pearson"), 0.2012699111),
    "FLAT, Jeffrey, batch means": (lambda: contrast(PE.mean(), PF.mean(), "jeffrey"), 0.2140865417),
    "FLAT, reverse KL, batch means": (lambda: contrast(PE.mean(), PF.mean(), "reverse_kl"), 0.2113571495),
    "FLAT, Hellinger, batch means": (lambda: contrast(PE.mean(), PF.mean(), "hellinger"), 0.4251046202),
    "FLAT, Neyman, batch means": (lambda: contrast(PE.mean(), PF.mean(), "neyman"), 0.1323705441),
}


@pytest.mark.parametrize("name", VALUES)
def test_value(name: str):
    compute, expected = VALUES[name]
    assert compute().item() == pytest.approx(expected, abs=TEN_DIGITS)


def test_ranking_values():
    assert bpr(TWO, HALF).item() == pytest.approx(0.2014133, abs=5e-8)
    assert reverse_bpr(TWO, HALF).item() == pytest.approx(1.7014133, abs=5e-8)
    assert slope(lambda pos: reverse_bpr(pos, HALF), TWO).item() == pytest.approx(0.8175745, abs=5e-8)
    assert slope(lambda pos: -bpr(pos, HALF), TWO).item() == pytest.approx(0.1824255, abs=5e-8)  # plain ascent


def test_ihl_values_and_gradients():
    tokens = [1.65482201, 1.16798493, 0, 0.76894142, 1.82673134, 1.65482201]
    assert ihl(Z, Y).flatten().tolist() == pytest.approx(tokens, abs=5e-9)
    assert slope(lambda z: token_mean(ihl(z, Y), Y), Z).norm().item() == pytest.approx(0.1509, abs=5e-5)
    assert slope(lambda z: token_mean(-cross_entropy(z, Y), Y), Z).norm().item() == pytest.approx(0.2580, abs=5e-5)


SLOPES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], float, float]] = {  # dL/dPe, dL/dPf at the fixture
    "tv": (partial(contrast, divergence="tv"), -0.4021, 0.3597),
    "kl": (partial(contrast, divergence="kl"), -1, 0.6635),
    "js": (partial(contrast, divergence="js"), -0.3833, 0.6433),
    "pearson": (partial(contrast, divergence="pearson"), -1, 1.2949),
    "jeffrey": (partial(contrast, divergence="jeffrey"), -1, 1.3601),
    "reverse KL as released": (wrong.flat_reverse_kl, 1.6086, -1),
    "Hellinger as released": (wrong.flat_hellinger, 1.6086, -0.5545),
    "Neyman as released": (wrong.flat_neyman, 1.6086, 1.5612),
}


@pytest.mark.parametrize("name", SLOPES)
def test_flat_slopes(name: str):
    """Identity 11."""
    function, template, forget = SLOPES[name]
    assert slope(lambda pe: function(pe, PF.mean()), PE.mean()).item() == pytest.approx(template, abs=5.1e-5)
    assert slope(lambda pf: function(PE.mean(), pf), PF.mean()).item() == pytest.approx(forget, abs=5.1e-5)


def test_rmu_values():
    hidden, held = logits([[1, 2], [0, 1], [3, -1]]), logits([[1, 0], [0, 1]])
    direction = torch.tensor([0.6, 0.8], dtype=torch.float64)
    first_two, frozen = torch.tensor([[True, True, False]]), logits([[0.9, 0.1], [0, 1.2]])
    forget = rmu(hidden, 6.5 * direction, first_two, compat="reference")
    retain = rmu(held, frozen, torch.ones(1, 2, dtype=torch.bool))
    assert forget.tolist() == pytest.approx([15.125], abs=TEN_DIGITS)
    assert rmu(hidden, 6.5 * direction, first_two).tolist() == pytest.approx([12.875], abs=TEN_DIGITS)
    assert retain.tolist() == pytest.approx([0.015], abs=TEN_DIGITS)
    assert (forget + 1200 * retain).tolist() == pytest.approx([33.125], abs=TEN_DIGITS)
    coefficient = rmu_coefficient(hidden, first_two, compat="reference")
    assert coefficient.tolist() == pytest.approx([10.6639093961], abs=TEN_DIGITS)


def test_task_vector_value():
    target, tuned = ({"w": torch.tensor(w, dtype=torch.float64)} for w in ([1.0, -2.0], [1.5, -1.0]))
    assert shift(target, difference(tuned, target), -2)["w"].tolist() == [0, -4]


# --- checks: each takes an implementation, and raises AssertionError if it is wrong -----------------------------------

PairLoss = Callable[[Tensor, Tensor, Tensor], Tensor]  # (logits, ref_logits, labels) -> scalar


def npo_loss(z: Tensor, ref: Tensor, labels: Tensor) -> Tensor:
    return npo(sequence_nll(z, labels), sequence_nll(ref, labels), beta=0.1).mean()


def flatten_loss(z: Tensor, ref: Tensor, labels: Tensor) -> Tensor:
    return token_mean(flatten_logits(z, labels), labels)


def flatten_what_predicts(whole: Tensor, labels: Tensor) -> Tensor:
    """PDU as the method asks for it: outputs and labels are shifted against each other before the loss sees them."""
    return flatten_loss(whole[:, :-1], whole[:, :-1], labels[:, 1:])


def kl_loss(z: Tensor, ref: Tensor, labels: Tensor) -> Tensor:
    return token_mean(kl(ref, z, labels), labels)


def gradient(value: Tensor, leaf: Tensor) -> Tensor:
    return torch.autograd.grad(value.sum(), leaf)[0]


def slope(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    leaf = at.clone().requires_grad_()
    return gradient(function(leaf), leaf)


def same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=0, atol=1e-12)


def npo_starts_as_summed_ascent(loss: PairLoss) -> None:
    """Identity 1: at the reference (2/beta) log 2, with the gradient of ascent on whole answers."""
    assert abs(loss(R, R, Y).item() - 20 * math.log(2)) < TEN_DIGITS
    assert same(slope(lambda z: loss(z, R, Y), R), slope(lambda z: -sequence_nll(z, Y).mean(), R))


def npo_weighs_each_example(loss: PairLoss) -> None:
    """Identity 3: the gradient is that of ascent times W_i = 2 p^beta / (p^beta + p_ref^beta)."""
    weight = 2 * torch.exp(-0.1 * NLL) / (torch.exp(-0.1 * NLL) + torch.exp(-0.1 * REF))
    assert weight.tolist() == pytest.approx([0.96616734, 0.92577534], abs=5e-9)
    assert same(slope(lambda z: loss(z, R, Y), Z), slope(lambda z: -(weight * sequence_nll(z, Y)).mean(), Z))


def npo_feels_length(loss: PairLoss) -> None:
    """Equal nats per token lost over 5 and over 50 tokens: the long answer is damped more."""
    z, labels = torch.zeros(2, 50, 4, dtype=torch.float64), torch.zeros(2, 50, dtype=torch.long)
    labels[0, 5:] = -100
    short, long = slope(lambda leaf: loss(leaf, R[:1, :1].expand(2, 50, 4), labels), z)[:, 0, 0].tolist()
    assert not math.isclose(short, long, rel_tol=0.01)


def npo_stays_finite(loss: PairLoss) -> None:
    """An answer thousands of nats likelier than before: a margin that no sigmoid can hold."""
    assert torch.isfinite(loss(3000 * Z, -3000 * Z, Y))
    assert torch.isfinite(slope(lambda z: loss(z, -3000 * Z, Y), 3000 * Z)).all()


def sees_only_distributions(loss: PairLoss) -> None:
    """Identity 9: a constant added to all logits of a position changes nothing, on either side."""
    constant = torch.arange(6, dtype=torch.float64).view(2, 3, 1)
    assert same(loss(Z + constant, R, Y), loss(Z, R, Y))
    assert same(loss(Z, R + constant, Y), loss(Z, R, Y))


def ignores_padding(loss: PairLoss) -> None:
    """Identity 10: positions labelled -100 change nothing, whatever stands there."""
    z, ref = torch.cat([Z, Z[:, :2]], 1), torch.cat([R, R[:, 1:]], 1)
    assert same(loss(z, ref, padded(Y, fill=-100, positions=2)), loss(Z, R, Y))


def dpo_compares(loss: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> None:
    """(2/beta) log 2 at the reference, and there a nat of either side counts one, with opposite signs."""
    nll, alternative = NLL.clone().requires_grad_(), ALT.clone().requires_grad_()
    value = loss(nll, NLL, alternative, ALT)
    assert value.tolist() == pytest.approx([20 * math.log(2)] * 2, abs=TEN_DIGITS)
    first, second = torch.autograd.grad(value.sum(), (nll, alternative), allow_unused=True, materialize_grads=True)
    assert first.tolist() == pytest.approx([-1, -1])
    assert second.tolist() == pytest.approx([1, 1])


def kl_has_its_gradient(loss: PairLoss) -> None:
    """KL(reference || model) has the gradient p - p_ref; at the reference it is 0 with gradient 0 (identity 9)."""
    pull = (Z.softmax(-1) - R.softmax(-1)) * valid(Y).unsqueeze(-1) / valid(Y).sum()
    assert same(slope(lambda z: loss(z, R, Y), Z), pull)
    assert same(loss(R, R, Y), torch.zeros((), dtype=torch.float64))
    assert same(slope(lambda z: loss(z, R, Y), R), torch.zeros_like(R))


def flattens_the_predictions_of_the_answer(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Outputs 1 and 2 predict the answer's tokens 2 and 3; neither the question's nor what follows is touched."""
    whole = torch.cat([Z, Z[:, :1] + 1], 1)
    touched = slope(lambda z: loss(z, torch.tensor([[-100, -100, 2, 3]] * 2)), whole).abs().sum(-1) > 0
    assert touched.tolist() == [[False, True, False, False], [False, True, True, False]]  # Z[0, 2] is flat already


def ignores_grouping(mean: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Which sequence a token stands in does not matter to a token mean."""
    values = cross_entropy(Z, Y)
    assert same(mean(values, Y), mean(values.view(1, 6), Y.view(1, 6)))


def ignores_repetition(sizes: Callable[[Tensor], Tensor]) -> None:
    """Identity 4: every token of a sequence repeated three times leaves SimNPO as it was."""
    z, labels = (values.repeat_interleave(3, 1) for values in (Z, Y))
    assert same(simnpo(sequence_nll(z, labels), sizes(labels)), simnpo(NLL, sizes(Y)))


def lowers_the_item(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Reverse BPR exceeds BPR by the margin, is never negative, and descent lowers the item to forget."""
    pos, neg = torch.tensor([2.0, -1.0, 0.3]).double(), torch.tensor([0.5, 4.0, 0.3]).double()
    assert same(loss(pos, neg) - bpr(pos, neg), pos - neg)
    assert (loss(pos, neg) > 0).all()
    assert (slope(lambda score: loss(score, neg), pos) > 0).all()


def points_one_way(draw: Callable[[int, torch.Generator], Tensor]) -> None:
    """RMU's direction: unit length, no negative coordinate, cosine sqrt(3)/2 with the all-ones direction."""
    direction = draw(4096, torch.Generator().manual_seed(0))
    assert abs(direction.norm().item() - 1) < 1e-5
    assert direction.min() >= 0
    assert abs(direction.sum().item() / 64 - math.sqrt(3) / 2) < 0.02


def keeps_the_model_whole(move: Callable[[dict[str, Tensor], dict[str, Tensor], float], dict[str, Tensor]]) -> None:
    """Task vectors: what the vector lacks stays as it was."""
    start = {"w": torch.ones(2), "steps": torch.tensor(7), "head": torch.full((2,), 3.0)}
    moved = move(start, {"w": torch.tensor([0.5, 1.0])}, -2.0)
    assert {name: value.tolist() for name, value in moved.items()} == {"w": [0, -1], "steps": 7, "head": [3, 3]}


def undial_loss(z: Tensor, ref: Tensor, labels: Tensor) -> Tensor:
    return token_mean(undial(ref, z, labels, beta=10), labels)


def undial_lowers_named_tokens_only(loss: PairLoss) -> None:
    """Where nothing is scored and the model is the reference, no token is pulled, wherever -100 may point."""
    z, labels = torch.zeros(1, 2, 128, dtype=torch.float64), torch.tensor([[5, -100]])
    assert same(slope(lambda leaf: loss(leaf, z, labels), z)[:, 1], torch.zeros(1, 128, dtype=torch.float64))


def flat_loss(z: Tensor, ref: Tensor, labels: Tensor) -> Tensor:
    """The reference's logits stand for those of the template."""
    return flat(z, labels, ref, labels, "kl").mean()


def flat_tells_the_answers_apart(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Identity 11: strictly falling in the template's probability and rising in the forget answer's, all over."""
    grid = torch.linspace(0, 1, 21, dtype=torch.float64)
    values = loss(grid[:, None].expand(21, 21), grid.expand(21, 21))
    assert (values.diff(dim=0) < 0).all()
    assert (values.diff(dim=1) > 0).all()


@pytest.mark.parametrize("name", DIVERGENCES)
def test_every_divergence_tells_the_answers_apart(name: Name):
    flat_tells_the_answers_apart(partial(contrast, divergence=name))


def flat_reverse_kl(template: Tensor, forget: Tensor) -> Tensor:
    return contrast(template, forget, "reverse_kl")


def sizes_after_shift(labels: Tensor) -> Tensor:
    return valid(labels).sum(1)


# every check, the implementation of ours that passes it, and the known wrong ones that do not
CHECKS: list[tuple[Callable[[Any], None], Callable[..., Any], list[Callable[..., Any]]]] = [
    (npo_starts_as_summed_ascent, npo_loss, [wrong.npo_on_raw_logits, wrong.npo_on_token_mean]),
    (npo_weighs_each_example, npo_loss, [wrong.npo_on_raw_logits, wrong.npo_on_token_mean]),
    (npo_feels_length, npo_loss, [wrong.npo_on_token_mean]),
    (npo_stays_finite, npo_loss, [wrong.npo_by_log_of_sigmoid]),
    (sees_only_distributions, npo_loss, [wrong.npo_on_raw_logits]),
    (dpo_compares, dpo, [wrong.dpo_overwritten]),
    (ignores_padding, npo_loss, [wrong.npo_on_raw_logits]),
    (sees_only_distributions, kl_loss, [wrong.kl_on_raw_logits]),
    (sees_only_distributions, flatten_loss, [wrong.npo_on_raw_logits]),
    (ignores_padding, flatten_loss, [wrong.flatten_everywhere]),
    (flattens_the_predictions_of_the_answer, flatten_what_predicts, [wrong.flatten_by_unshifted_mask]),
    (ignores_padding, kl_loss, [wrong.kl_on_raw_logits, wrong.kl_unmasked, wrong.kl_by_mean_reduction]),
    (kl_has_its_gradient, kl_loss, [wrong.kl_on_raw_logits, wrong.kl_reversed, wrong.kl_by_mean_reduction]),
    (ignores_grouping, token_mean, [wrong.mean_of_sequence_means]),
    (ignores_repetition, sizes_after_shift, [wrong.sizes_before_shift]),
    (lowers_the_item, reverse_bpr, [wrong.reverse_bpr_with_two_signs]),
    (points_one_way, rmu_direction, [wrong.rmu_direction_gaussian]),
    (keeps_the_model_whole, shift, [wrong.shift_dropping_keys]),
    (ignores_padding, undial_loss, [wrong.undial_unmasked]),
    (undial_lowers_named_tokens_only, undial_loss, [wrong.undial_at_index_minus_100]),
    (ignores_padding, flat_loss, [wrong.flat_over_all_positions]),
    (
        flat_tells_the_answers_apart,
        flat_reverse_kl,
        [wrong.flat_reverse_kl, wrong.flat_hellinger, wrong.flat_neyman],
    ),
]


@pytest.mark.parametrize(
    ("check", "right"), [pytest.param(c, r, id=f"{c.__name__}-{r.__name__}") for c, r, _ in CHECKS]
)
def test_right_implementation_passes(check: Callable[[Any], None], right: Callable[..., Any]):
    check(right)


@pytest.mark.parametrize(
    ("check", "implementation"),
    [pytest.param(check, w, id=f"{check.__name__}-{w.__name__}") for check, _, wrongs in CHECKS for w in wrongs],
)
def test_known_wrong_implementation_is_rejected(check: Callable[[Any], None], implementation: Callable[..., Any]):
    with pytest.raises(AssertionError):
        check(implementation)


def unrelated_token() -> Tensor:
    """How hard -100 pushes down token 28 of 128: p minus its target, over two positions."""
    z, labels = torch.zeros(1, 2, 128, dtype=torch.float64), torch.tensor([[5, -100]])
    return slope(lambda leaf: wrong.undial_at_index_minus_100(leaf, z, labels), z)[0, 1, 28]


# what each defect makes of the fixture, so that we know we reject the published mistake and not a typing error
WRONG_VALUES: dict[str, tuple[Callable[[], Tensor], float, float]] = {
    "npo_on_raw_logits": (lambda: wrong.npo_on_raw_logits(Z, R, Y), 13.7257005308, TEN_DIGITS),
    "npo_on_token_mean": (lambda: wrong.npo_on_token_mean(Z, R, Y), 13.4347987610, TEN_DIGITS),
    "npo_by_log_of_sigmoid": (lambda: wrong.npo_by_log_of_sigmoid(Z, R, Y), 12.8142228285, TEN_DIGITS),  # right, here
    "kl_on_raw_logits": (lambda: wrong.kl_on_raw_logits(ZR, RR, YR), 3.0652051705, TEN_DIGITS),
    "flatten_everywhere": (lambda: wrong.flatten_everywhere(Z, R, Y), 2.3656250000 * 5 / 6, TEN_DIGITS),
    "kl_reversed": (lambda: wrong.kl_reversed(ZR, RR, YR), 0.0217749640, TEN_DIGITS),
    "kl_unmasked": (lambda: wrong.kl_unmasked(ZR_PADDED, RR_PADDED, YR_PADDED), 0.0507363259, TEN_DIGITS),
    "kl_by_mean_reduction": (lambda: wrong.kl_by_mean_reduction(ZR, RR, YR), 0.0224174790 / 4, TEN_DIGITS),
    "mean_of_sequence_means": (lambda: wrong.mean_of_sequence_means(cross_entropy(Z, Y), Y), 0.686209, 5e-7),
    "idk_as_two_means": (lambda: token_mean(cross_entropy(ZA, YA), YA) + RETAIN, 1.2858790479, TEN_DIGITS),
    "reverse_bpr_with_two_signs": (lambda: wrong.reverse_bpr_with_two_signs(TWO, HALF), -1.7014133, 5e-8),
    "undial_unmasked": (lambda: wrong.undial_unmasked(Z, R, Y), 2.0983793951, TEN_DIGITS),
    "undial_at_index_minus_100": (unrelated_token, (1 / 128 - 1 / (1 + 127 * math.exp(10))) / 2, TEN_DIGITS),
    "mean_probability_of_all": (lambda: wrong.mean_probability_of_all(Z, Y).mean(), 0.4910130538, TEN_DIGITS),
    "flat_reverse_kl": (lambda: wrong.flat_reverse_kl(PE.mean(), PF.mean()), 0.0189040519, TEN_DIGITS),
    "flat_hellinger": (lambda: wrong.flat_hellinger(PE.mean(), PF.mean()), 0.1630977544, TEN_DIGITS),
    "flat_neyman": (lambda: wrong.flat_neyman(PE.mean(), PF.mean()), 1.3275113127, TEN_DIGITS),
    "rmu_direction_gaussian": (
        lambda: wrong.rmu_direction_gaussian(4096, torch.Generator().manual_seed(0)).sum() / 64,
        0,
        3 / 64,  # three standard deviations of the cosine of two random directions
    ),
}


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_known_wrong_value(name: str):
    compute, expected, tolerance = WRONG_VALUES[name]
    assert compute().item() == pytest.approx(expected, abs=tolerance)


# --- identities that need no second implementation --------------------------------------------------------------------


def test_npo_tends_to_ascent_as_beta_vanishes():
    """Identity 2."""
    beta = 1e-6
    rest = npo(NLL, REF, beta).mean().item() - 2 / beta * math.log(2)
    assert rest == pytest.approx(-1.0820696, abs=5e-8)
    assert rest == pytest.approx(-(NLL - REF).mean().item(), abs=1e-5)


def test_simnpo_is_npo_on_the_mean():
    """Identity 4, and what tells the two apart: repetition, unless the answer is as likely as before."""
    assert same(simnpo(NLL, SIZES, beta=2.5), npo(NLL / SIZES, torch.zeros(2), beta=2.5))
    z, ref, labels = (values.repeat_interleave(3, 1) for values in (Z, R, Y))
    assert same(sequence_nll(z, labels) - sequence_nll(ref, labels), 3 * (NLL - REF))
    assert (npo(sequence_nll(z, labels), sequence_nll(ref, labels)) < npo(NLL, REF) - 0.1).all()
    assert same(npo(sequence_nll(ref, labels), sequence_nll(ref, labels)), npo(REF, REF))


def test_dpo_against_itself_is_constant():
    """Identity 5."""
    leaf = Z.clone().requires_grad_()
    nll = sequence_nll(leaf, Y)
    value = dpo(nll, REF, nll, REF)
    assert value.tolist() == pytest.approx([20 * math.log(2)] * 2, abs=TEN_DIGITS)
    assert same(gradient(value, leaf), torch.zeros_like(Z))


def test_only_the_model_learns():
    """Identity 12: the reference gets no gradient, and no byte of it changes in a step."""
    features = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    model, reference = torch.nn.Linear(5, 4), torch.nn.Linear(5, 4)
    before = [weight.detach().clone() for weight in reference.parameters()]
    optimizer = torch.optim.AdamW([*model.parameters(), *reference.parameters()], lr=0.1, weight_decay=0)
    z, ref = model(features), reference(features)
    nll, ref_nll = sequence_nll(z, Y), sequence_nll(ref, Y)
    loss = npo(nll, ref_nll) + dpo(nll, ref_nll, nll.flip(0), ref_nll.flip(0)) + kl(ref, z, Y).sum(1)
    (loss + rmu(z, ref, valid(Y))).sum().backward()
    optimizer.step()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())
    assert all(weight.grad is None for weight in reference.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, reference.parameters(), strict=True))
