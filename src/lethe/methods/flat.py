"""Loss adjustment with forget data alone."""

from typing import Literal

from torch import Tensor

from lethe.data.refusals import refuse
from lethe.descent.objective import objective
from lethe.losses.flat import Name, contrast, mean_probability
from lethe.losses.flat import flat as flat_loss
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term

PAPER = {
    "divergence": "tv",
    "lr": 1e-5,
    "epochs": 5,
    "batch_size": 64,
    "accumulate": 4,
    "weight_decay": 0.01,
    "warmup": 0.2,
    "precision": "bf16",
    "retain": "none",
}


@objective(
    families={"language"},  # its template is an answer in words
    needs={"logits"},
    paper="2410.11143",
    retain="none",
    presets={"paper": PAPER},
)
def flat(
    model: Model,
    request: Request,
    *,
    divergence: Name = "tv",
    variant: Literal["paper", "reference"] = "paper",
    refusals: str = "",
) -> Term:
    """FLAT: a refusal becomes likelier than the forget answer, by an f-divergence of their probabilities.

    Needs no retain set and no original model. Its gradient falls with p (1 - p), so what is known by heart is slow to
    start, and nothing is driven to minus infinity.

    Args:
        divergence: tv (total variation), kl, js, pearson, jeffrey (cubic approximation), or, with the signs of the
            published code put right, reverse_kl, hellinger, neyman.
        variant: paper contrasts the two answers of each example, over their own lengths; reference the batch means of
            both probabilities, over all positions with padding (one loss per batch: no accumulation).
        refusals: File of refusals, one per line; empty draws from Lethe's own.
    """
    examples = model.encode(request.forget)
    templates = model.encode(refuse(request.forget, request.seed, refusals))

    def refused(batch: Batch) -> Batch:
        rows: list[int] = batch.index.tolist()
        return model.collate([templates[row] for row in rows], rows).to(model.device)

    def each(model: Model, batch: Batch) -> Tensor:
        template = refused(batch)
        return flat_loss(model.logits(batch), batch.labels, model.logits(template), template.labels, divergence)

    def means(model: Model, batch: Batch) -> Tensor:
        def likely(answers: Batch) -> Tensor:
            return mean_probability(model.logits(answers), answers.labels, "reference").mean()

        return contrast(likely(refused(batch)), likely(batch), divergence)

    if variant == "reference":
        return Term("forget", examples, means, per="batch", role="forget")
    return Term("forget", examples, each, per="example", role="forget")
