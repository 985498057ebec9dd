"""Catastrophic forgetting of the last layers."""

from lethe.descent.objective import objective
from lethe.descent.published import MUFAC
from lethe.descent.terms import own_loss
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Term

# The last two stages and the head of a ResNet, as transformers and as torchvision call them: the k = 3 of MUFAC's code.
BLOCKS = r"layers:match=encoder\.stages\.[23]\.|classifier\.|layer[34]\.|fc\."


@objective(
    families={"classifier"},
    needs={"loss"},
    paper="2201.06640",
    retain=None,
    requires={"retain"},
    where="last:count=3",
    presets={"mufac": {**MUFAC, "where": BLOCKS}},
)
def cf_k(model: Model, request: Request) -> Term:
    """CF-k: go on training the last k layers on the retain set; all before them stays as it is.

    The k = 3 of MUFAC's tables counts blocks, the last two stages of a ResNet and its head: `preset=mufac`.
    """
    return Term("retain", model.encode(request.retain), own_loss, per="token")
