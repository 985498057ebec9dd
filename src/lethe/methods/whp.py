"""Who's Harry Potter: generic labels."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lethe.data.anchors import check_anchors, check_occur, find_anchors, read_anchors
from lethe.descent.objective import objective
from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.losses.divergence import forward_kl
from lethe.losses.relabelling import centred, generic_logits
from lethe.models.base import IGNORED, Batch
from lethe.models.language import LanguageModel
from lethe.models.translated import labelled, make_blocks, text_of, translated_logits
from lethe.request import Request
from lethe.train import Recipe, Term, train

Anchors = Mapping[str, str]


@objective(
    families={"language"}, needs={"logits"}, paper="2310.02238", retain="nll",
    presets={"paper": {
        "labels": "hard", "retain": "none", "lr": 1e-6, "epochs": 2, "batch_size": 128, "accumulate": 16,
        "reinforce_lr": 3e-6, "reinforce_epochs": 3,
    }},
    departs={"anchors": "none"},
)  # fmt: skip
def whp(
    model: LanguageModel,
    request: Request,
    *,
    alpha: float = 5.0,
    anchors: Anchors | str = "auto",
    labels: Literal["soft", "hard"] = "soft",
    baseline: Literal["translated", "original"] = "translated",
    centre: bool = False,
    repeat: float = 5.0,
    reinforce_lr: float = 1e-3,
    reinforce_epochs: int = 10,
    folder: Path | None = None,
    checkpoint_every: int = 0,
) -> Term:
    """Who's Harry Potter: learn what a model would say that never read the text.

    The generic logits are those of the model before unlearning on a translation of the text (names replaced), less
    alpha times whatever rises when it is trained further on the text. If nothing rises, nothing is forgotten: a text
    known by heart needs a long reinforcement.

    Args:
        alpha: How strongly what rose is lowered.
        anchors: JSON file {"name": "generic counterpart"} of terms to translate; auto finds names that are rare in the
            retain set, none translates nothing.
        labels: hard learns the most likely generic token, soft the whole generic distribution (two more models in
            memory while training).
        baseline: Text on which the model before unlearning is read inside the ReLU.
        centre: Compare log-probabilities; raw logits, as published, change with a constant added to all of them.
        repeat: What the logit of a counterpart is lowered by once its name has occurred.
        reinforce_lr: Learning rate of the further training on the text.
        reinforce_epochs: Passes over the text in that training, 16 records at a time.

    Raises:
        InputError: If repeat is negative, an anchored term does not occur in the forget records, or no label is left to
            learn.
    """
    if not 0 <= repeat < math.inf:
        raise InputError(f"whp: repeat is {repeat:g}; it must be a finite number of at least 0.")
    texts, general = ([text_of(model, record) for record in records] for records in (request.forget, request.retain))
    blocks = make_blocks(model, request.forget, _terms(anchors, texts, general))
    kept = [block.example for block in blocks]
    if not any(example.size for example in kept):
        raise InputError("whp: the anchored terms leave no label to learn; give texts that say more than these names.")
    before, reinforced = model.copy(), model.copy()
    examples = model.encode(request.forget)
    recipe = Recipe(
        lr=reinforce_lr, epochs=reinforce_epochs, batch_size=16, seed=request.seed, checkpoint_every=checkpoint_every
    )
    place = None if folder is None else Path(folder) / "reinforced"
    train(reinforced, [Term("reinforce", examples, own_loss, per="token")], recipe, folder=place, identity="whp")

    def generic(batch: Batch) -> Tensor:
        chosen = [blocks[i] for i in batch.index.tolist()]
        with before.evaluating(), reinforced.evaluating():
            base, raised = translated_logits(before, batch, chosen), reinforced.logits(batch)
            offset = before.logits(batch) if baseline == "original" else base
        if centre:
            base, raised, offset = centred(base), centred(raised), centred(offset)
        logits = generic_logits(base, raised, alpha, offset)
        for row, block in enumerate(chosen):
            for start, tokens in block.said:
                logits[row, start:, tokens] -= repeat
        return logits

    def distil(model: LanguageModel, batch: Batch) -> Tensor:
        values = forward_kl(generic(batch), model.logits(batch))
        return values.masked_fill(batch.labels == IGNORED, 0).sum(-1)

    if labels == "soft":
        return Term("forget", kept, distil, per="token", role="forget")
    relabelled = list(kept)
    for batch in model.batches(kept, 8):
        found = torch.where(batch.labels == IGNORED, IGNORED, generic(batch).argmax(-1)).tolist()
        for row, i in enumerate(batch.index.tolist()):
            relabelled[i] = labelled(kept[i], found[row][: kept[i].length - 1])
    return Term("forget", relabelled, own_loss, per="token", role="forget")


def _terms(anchors: Anchors | str, texts: Sequence[str], general: Sequence[str]) -> Anchors:
    if anchors == "auto":
        return find_anchors(texts, general)
    if anchors == "none":
        return {}
    terms = read_anchors(anchors) if isinstance(anchors, str) else check_anchors(anchors, "whp: anchors")
    check_occur(terms, texts)
    return terms
