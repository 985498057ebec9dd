"""An influence encoder is trained on requests that were never made, and asked for one that was (arXiv 2505.22649)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lethe.data.cache import cache_folder, only_one
from lethe.data.content import digest
from lethe.data.order import mix
from lethe.errors import InputError
from lethe.losses.influence_encoder import contrast, log_share, preserve, unlearn, unlearn_linear
from lethe.models.base import Batch, Example
from lethe.models.influence_encoder import Influenced, InfluenceEncoder, tables
from lethe.models.recommender import Recommender
from lethe.preparation import preparing
from lethe.train import Recipe, Selection, Term, train

KEPT = 0.95  # share of the removed edges in the second view of the contrast
FORMS = {"softplus": unlearn, "linear": unlearn_linear}
_Scores = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Losses:
    """Weights and forms of what is minimised beside the recommender's own loss."""

    unlearn: float = 0.5
    preserve: float = 0.02
    tau: float = 10.0
    contrast: float = 1e-3
    form: Literal["softplus", "linear"] = "softplus"
    share: Literal["exp", "softplus"] = "exp"


@dataclass(frozen=True)
class Pretraining:
    """How an encoder is made.

    Args:
        epochs: Passes over the remaining edges, in all.
        every: Passes between two simulated requests.
        drop: Share of the edges that a simulated request removes, 0 to 1.
        lr: Learning rate (Adam).
        batch_size: Edges per step.
        layers: Steps on the graph of the removed edges.
        eta: Factor of what is withdrawn.
        floor: Share of the ordered pairs (a remaining edge above an item never taken) that a round must keep.
        seed: Seed of the requests, the order and the negatives.
        losses: The terms.
    """

    epochs: int = 100
    every: int = 5
    drop: float = 0.05
    lr: float = 1e-3
    batch_size: int = 512
    layers: int = 3
    eta: float = 0.1
    floor: float = 0.95
    seed: int = 0
    losses: Losses = Losses()


@dataclass(frozen=True)
class Told:
    """What is kept beside an encoder: how it was made, what that took, and how the held-out request was served."""

    made: dict[str, Any]
    seconds: float
    processor_seconds: float
    rounds: int
    chosen: int  # round, from 1; 0 is the encoder before any training
    gap: float  # mean score of pairs never taken less that of the removed edges, after the held-out request
    gap_before: float
    order: float  # share of ordered pairs after it
    order_before: float


def pretrain(model: Recommender, how: Pretraining) -> tuple[InfluenceEncoder, Told]:
    """Train an encoder for a recommender on requests drawn from its own graph.

    One request is drawn first and serves for choosing alone: its edges are in no request that is trained on. Of all
    rounds that one is chosen whose encoder, without fine-tuning, leaves the edges of the held-out request lowest, as
    long as the remaining edges keep their order.

    Raises:
        InputError: If the graph has too few edges, or an option is out of range.
    """
    if not (0 < how.drop < 0.5 and how.epochs >= how.every >= 1):
        raise InputError(
            f"unlearnrec: drop={how.drop:g} must lie above 0 and below 0.5, every={how.every} be at least 1 and "
            f"pretrain={how.epochs} at least that."
        )
    clock = time.perf_counter(), time.process_time()
    host = model.copy()
    edges = host.net.edges.cpu()
    count = max(1, round(how.drop * edges.shape[1]))
    if edges.shape[1] < 3 * count:
        raise InputError(f"unlearnrec: the graph has {edges.shape[1]} edges, too few to learn from; use retrain.")
    order = torch.randperm(edges.shape[1], generator=_rng(how.seed, 0))
    exam = _Exam(edges, order[:count], order[count:], _never(host, edges, how.seed))
    nodes, dim = host.net.users + host.net.items, host.net.item_table.weight.shape[1]
    encoder = InfluenceEncoder(nodes, dim, layers=how.layers, eta=how.eta).to(host.device)
    learner = Recommender(Influenced(host, encoder))
    before = _scores(model)
    gap_before, order_before = exam.gap(before), exam.order(before)
    best, chosen, gap, kept = None, 0, gap_before, order_before
    rounds = how.epochs // how.every
    for number in range(1, rounds + 1):
        drawn = exam.kept[torch.randperm(len(exam.kept), generator=_rng(how.seed, 2, number))[:count]]
        serve(learner, edges, drawn)
        fit(learner, host, how.losses, epochs=how.every, lr=how.lr, batch_size=how.batch_size,
            seed=mix(how.seed, 3, number), free=False)  # fmt: skip
        serve(learner, edges, exam.held)
        now = _scores(learner)
        found = exam.gap(now), exam.order(now)
        if found[1] >= how.floor * order_before and (best is None or found[0] > gap):
            best = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
            chosen, (gap, kept) = number, found
    if best is None:
        raise InputError(
            f"unlearnrec: no round of pre-training kept {how.floor:.0%} of the order of what stays; lower lr."
        )
    encoder.load_state_dict(best)
    spent = time.perf_counter() - clock[0], time.process_time() - clock[1]
    return encoder, Told(asdict(how), *spent, rounds, chosen, gap, gap_before, kept, order_before)


def fit(
    learner: Recommender, host: Recommender, losses: Losses, *, epochs: int, lr: float, batch_size: int, seed: int,
    free: bool,
) -> None:  # fmt: skip
    """Train the encoder (with `free` its last network and the tables alone) on the request that `learner` serves."""
    net: Influenced = learner.net
    users, items = net.removed.edges
    number = net.net.users

    def objective(_: Recommender, batch: Batch) -> Tensor:
        def standing() -> Tensor:
            own = host.loss(batch).mean()
            user, item = net.net.embed()
            total = own + losses.unlearn * FORMS[losses.form]((user[users] * item[items]).sum(-1)).mean()
            who, what = batch.inputs["users"], batch.inputs["items"]
            new = log_share(user[who], item[what], losses.tau, losses.share)
            old = log_share(net.final[who], net.final[number + what], losses.tau, losses.share)
            return total + losses.preserve * preserve(new, old).sum()

        total = net.call(standing)
        if losses.contrast and not free:
            total = total + losses.contrast * _contrast(net, batch)
        return total

    module: Any = learner.module
    moving = {name: weight for name, weight in module.named_parameters() if _moves(name, free)}
    recipe = Recipe(lr=lr, epochs=epochs, batch_size=batch_size, seed=seed, clip=None)
    train(learner, [Term("encoder", _examples(learner), objective, per="batch")], recipe, selection=Selection(moving))


def _moves(name: str, free: bool) -> bool:
    return name == "start" or name.startswith("encoder.mlp.") if free else name.startswith("encoder.")


def _contrast(net: Influenced, batch: Batch) -> Tensor:
    """The two views of every layer, for the batch's users and for its items: mean over these, summed over layers.

    The second view lacks some of the removed edges and has the degrees that are left.
    """
    kept = torch.rand(net.removed.edges.shape[1], generator=torch.default_generator) < KEPT
    thinned = net.removed.thinned(kept.to(net.removed.keys.device))
    rows = batch.inputs["users"], net.net.users + batch.inputs["items"]
    terms = [
        contrast(whole[own], view[own]).mean()
        for whole, view in zip(net.encoder.states(net.removed), net.encoder.states(thinned), strict=True)
        for own in rows
    ]
    return torch.stack(terms).sum()


def _examples(learner: Recommender) -> Sequence[Example]:
    """The edges that stay, as records to train on."""
    edges = learner.net.edges.T.tolist()
    return learner.encode([{"user": user, "item": item} for user, item in edges])


def serve(learner: Recommender, edges: Tensor, drawn: Tensor) -> None:
    """Let the learner serve the request for these edges of the whole graph."""
    stays = torch.ones(edges.shape[1], dtype=torch.bool)
    stays[drawn] = False
    device = learner.device
    learner.net.withdraw(edges[:, drawn].to(device), edges[:, stays].to(device))


@dataclass(frozen=True)
class _Exam:
    """How an encoder is chosen: a request that no round has seen, and what must stay."""

    edges: Tensor  # all of them (2, E)
    held: Tensor  # positions of the held-out request
    kept: Tensor  # positions of the others
    never: Tensor  # for each of `edges` an item that its user never took (E,)

    def gap(self, scores: _Scores) -> float:
        """Mean score of the held-out users' items that they never took, less that of the removed edges."""
        users, items = self.edges[:, self.held]
        return float((scores(users, self.never[self.held]) - scores(users, items)).mean())

    def order(self, scores: _Scores) -> float:
        """Share of the kept edges that score above an item that their user never took."""
        users, items = self.edges[:, self.kept]
        return float((scores(users, items) > scores(users, self.never[self.kept])).float().mean())


def _never(host: Recommender, edges: Tensor, seed: int) -> Tensor:
    """For the user of every edge an item that they never took (E,), while all edges are in the graph."""
    records = [{"user": user, "item": item} for user, item in edges.T.tolist()]
    batch = host.collate(host.encode(records), range(len(records)), _rng(seed, 1))
    return batch.inputs["negatives"]


def _scores(model: Recommender) -> _Scores:
    """What the model gives to pairs of users and items (E,), (E,)."""
    with model.evaluating():
        users, items = (table.cpu() for table in model.net.embed())
    return lambda who, what: (users[who] * items[what]).sum(-1)


def _rng(*parts: int) -> torch.Generator:
    return torch.Generator().manual_seed(mix(*parts))


def encoder_for(model: Recommender, how: Pretraining, folder: str = "") -> tuple[InfluenceEncoder, dict[str, Any]]:
    """The encoder of a recommender and what is told of its making: from its folder, or made there once.

    Args:
        model: The recommender before any request.
        how: How it is made where it is not there.
        folder: Its folder; without one a folder of the cache, by the model's weights and by `how`.

    Raises:
        InputError: If it is one of another recommender, or cannot be made.
    """
    shape = tuple(tables(model.net).shape)
    key = digest([model.fingerprint(), asdict(how)])[:16]
    place = Path(folder) if folder else cache_folder() / "encoders" / key
    if not place.exists():
        with only_one(place.with_name(f".{place.name}.lock")):
            if not place.exists():  # another process may have made it while this one waited
                with preparing():
                    encoder, told = pretrain(model, how)
                encoder.save(place, {"recommender": model.fingerprint(), "pretraining": asdict(told)})
    encoder, told = InfluenceEncoder.load(place, *shape)
    return encoder, {"folder": str(place), **told}
