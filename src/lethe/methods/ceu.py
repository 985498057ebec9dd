"""Cross-entropy unlearning."""

from dataclasses import replace

from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.tokenwise import forget_tokens
from lethe.errors import InputError
from lethe.losses import targets
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term

# Skipping and the lack of a retain term are the paper's; learning rate and batch those of the TOFU code it builds on.
PAPER = {"skip": 1, "retain": "none", "lr": 1e-5, "epochs": 8, "batch_size": 32}


@objective(needs={"logits"}, paper="2503.01224", retain="nll", presets={"paper": PAPER})
def ceu(model: Model, request: Request, *, skip: int = 0) -> Term:
    """CE-U: learn what the model itself would say if it could not say the forget token.

    Args:
        skip: Tokens at the start of each answer that are left as they are; the paper's runs skip 1.

    Raises:
        InputError: If an answer has no token beyond those that are skipped.
    """
    if skip < 0:
        raise InputError(f"ceu: skip is {skip}; it counts tokens and must be at least 0.")
    examples = model.encode(request.forget)
    for record, example in zip(request.forget, examples, strict=True):
        if example.size <= skip:
            raise InputError(
                f"ceu: the answer of forget record {record['id']!r} has {example.size} scored tokens, so skip={skip} "
                f"leaves nothing to forget; use skip={example.size - 1} or less."
            )

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        return targets.ceu(logits, targets.without_first(batch.labels, skip))

    return forget_tokens([replace(example, size=example.size - skip) for example in examples], loss)
