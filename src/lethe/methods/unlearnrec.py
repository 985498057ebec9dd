"""Unlearning of a recommender's edges by a pre-trained influence encoder."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from lethe.data.atomic import write_json
from lethe.descent.influence_encoder import Losses, Pretraining, encoder_for, fit
from lethe.errors import InputError
from lethe.models.influence_encoder import Influenced
from lethe.models.recommender import Recommender
from lethe.registry import method
from lethe.request import Request

# Weights, rates and rounds of the authors' code; its scripts differ by data set.
PAPER = {
    "finetune": 10, "pretrain": 200, "every": 5, "drop": 0.05, "layers": 3, "eta": 0.1, "unlearn": 0.5,
    "unlearn_finetune": 0.2, "preserve": 0.02, "tau": 10.0, "contrast": 1e-3, "lr_encoder": 1e-3, "batch": 512,
}  # fmt: skip


@method(
    families={"recommender"},
    needs={"scores"},
    intent="removal",
    level="parameter",
    paper="2505.22649",
    requires={"forget"},
    presets={"paper": PAPER},
)
def unlearnrec(
    model: Recommender,
    request: Request,
    *,
    encoder: str = "",
    finetune: int = 3,
    lr_finetune: float = 1e-3,
    unlearn_finetune: float = 0.2,
    unlearn: float = 0.5,
    preserve: float = 0.02,
    tau: float = 10.0,
    form: Literal["softplus", "linear"] = "softplus",
    share: Literal["exp", "softplus"] = "exp",
    batch: int = 512,
    pretrain: int = 100,
    every: int = 5,
    drop: float = 0.05,
    lr_encoder: float = 1e-3,
    contrast: float = 1e-3,
    layers: int = 3,
    eta: float = 0.1,
    floor: float = 0.95,
    folder: Path | None = None,
) -> Recommender:
    """UnlearnRec: an encoder trained beforehand on simulated requests says how the embeddings must change.

    The encoder belongs to the recommender, not to the request: made once, it serves every request for edges, whole
    users or whole items in the time of a forward pass, or of a few epochs where it is fine-tuned. What comes out is the
    plain recommender with other ID tables on the graph that is left. Its choice never sees the request.

    Args:
        encoder: Folder of the encoder; where it does not exist it is made there. Without one, it is made once per
            recommender, seed and options, and kept in the cache.
        finetune: Epochs over the remaining edges at request time; 0 serves the request without any training.
        lr_finetune: Learning rate of these epochs (Adam).
        unlearn_finetune: Weight of the removed edges' loss in these epochs.
        unlearn: The same in pre-training.
        preserve: Weight of the change among the other items; the term sums over the batch.
        tau: Temperature of the preserved shares.
        form: Loss of a removed edge: softplus of its score, or the score itself (linear).
        share: What a score counts for in the preserved shares: exp or softplus.
        batch: Edges per step.
        pretrain: Epochs of pre-training.
        every: Epochs of pre-training between two simulated requests.
        drop: Share of the edges that a simulated request removes, 0 to 1.
        lr_encoder: Learning rate of pre-training (Adam).
        contrast: Weight of the contrast between two views of a request, in pre-training.
        layers: Steps on the graph of the removed edges.
        eta: Factor of what is withdrawn.
        floor: Share of the order between remaining edges and items never taken that pre-training must keep.
        folder: Where `encoder.json` tells how the encoder was made and how long that took, apart from the request.

    Raises:
        InputError: If the encoder is one of another recommender, the model has no ID tables of one width, or nothing
            that is to be forgotten stands in its graph.
    """
    if any("modality" in record for record in request.forget):
        raise InputError("unlearnrec withdraws edges; for an item's content use retrain, finetune or mmrecun.")
    losses = Losses(unlearn, preserve, tau, contrast, form, share)
    how = Pretraining(
        epochs=pretrain, every=every, drop=drop, lr=lr_encoder, batch_size=batch, layers=layers, eta=eta,
        floor=floor, seed=request.seed, losses=losses,
    )  # fmt: skip
    network, told = encoder_for(model, how, encoder)
    started = time.perf_counter()
    unlearned = model.copy()
    unlearned.without(request.forget)
    left = unlearned.net.edges
    whole = model.net.graph
    removed = whole.edges[:, ~unlearned.net.graph.holds(*whole.edges)]
    if not removed.shape[1]:
        raise InputError("unlearnrec: none of the forget records is an interaction of the model's graph.")
    host = model.copy()
    learner = Recommender(Influenced(host, network.to(model.device), free=finetune > 0))
    learner.net.withdraw(removed, left)
    if finetune:
        served = replace(losses, unlearn=unlearn_finetune)
        fit(learner, host, served, epochs=finetune, lr=lr_finetune, batch_size=batch, seed=request.seed, free=True)
    with torch.no_grad():
        users, items = learner.net.moved().split([host.net.users, host.net.items])
        unlearned.net.user_table.weight.copy_(users)
        unlearned.net.item_table.weight.copy_(items)
    if folder is not None:
        write_json(folder / "encoder.json", {"encoder": told, "request_seconds": time.perf_counter() - started})
    return unlearned
