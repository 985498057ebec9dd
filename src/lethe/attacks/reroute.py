"""Forced reroute: does the knowledge live on in experts that the forget set no longer visits?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from torch import nn

from lethe.data.held import held_and_others
from lethe.descent.activations import answer_nll
from lethe.descent.experts import attribute
from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.models.language import LanguageModel
from lethe.models.mixture import Silence, detours, mixtures
from lethe.models.steered import plant, view
from lethe.registry import attack
from lethe.request import Request
from lethe.scoring.routing import affinity_ranks

Mode = Literal["reroute", "silence", "shared"]
Masked = dict[str, tuple[int, ...]]  # experts by layer


@attack(
    families={"language"}, needs={"experts"}, paper="2411.18797", requires={"forget"},
    variants=("reroute", "silence", "shared"), check="R8", evidence_class="E3", unit="experts",
    budgets={
        "quick": ("count=1,tries=4",),
        "standard": ("", "mode=shared"),
        "thorough": ("count=8,tries=32", "count=8,tries=32,mode=silence", "mode=shared"),
    },
)  # fmt: skip
def reroute(
    model: LanguageModel,
    request: Request,
    *,
    mode: Mode = "reroute",
    count: int = 3,
    tries: int = 8,
    share: float = 0.5,
    seed: int | None = None,
) -> Iterator[Tampered]:
    """Take experts that forget tokens visit out of the routers' choice, one after the other.

    Experts of all layers are ranked by the weight that the attacker's share of the forget records gives them; of the
    first the one is taken out without which these records are likeliest, then the next beside it. Looked at are the
    other records. What comes back had left only the experts that were taken out.

    Args:
        mode: reroute sends a token to the next best expert; silence lets it visit the expert, which then gives nothing;
            shared silences all routed experts, so that only shared ones are left (in models that have them).
        count: Most experts that are taken out; shared takes all.
        tries: Experts that are tried for each place.
        share: Share of the forget records that the attacker holds, 0 to 1, drawn by the seed.
        seed: Seed of the draw; the request's where none is given.

    Raises:
        InputError: If count or tries is below 1, the share leaves no record on one of the two sides, or the model has
            no mixture-of-experts layer.
    """
    if count < 1 or tries < 1:
        raise InputError(f"reroute: count is {count} and tries {tries}; both must be at least 1.")
    seed = request.seed if seed is None else seed
    held, others = held_and_others(request.forget, share, seed, "reroute")
    found = attribute(model, replace(request, forget=held))
    layers = found.layers
    if mode == "shared":
        every: Masked = {layer.name: tuple(range(layer.count)) for layer in layers}
        yield Tampered(detoured(model, every, mode), float(sum(layer.count for layer in layers)), others)
        return
    examples = model.encode(held)
    order = np.argsort(affinity_ranks(found.affinity).ravel()).tolist()
    ranked = [divmod(place, found.affinity.shape[1]) for place in order]
    most = {layer.name: layer.count - layer.kept if mode == "reroute" else layer.count for layer in layers}
    masked: Masked = {}
    for taken in range(1, count + 1):
        free = [
            (name, expert)
            for name, expert in ((layers[layer].name, expert) for layer, expert in ranked)
            if expert not in masked.get(name, ()) and len(masked.get(name, ())) < most[name]
        ]
        if not free:  # every router is left with as many experts as a token visits
            break
        candidates = [_with(masked, *one) for one in free[:tries]]
        masked = min(candidates, key=lambda tried: answer_nll(detoured(model, tried, mode), examples))
        yield Tampered(detoured(model, masked, mode), float(taken), others)


def detoured(model: LanguageModel, masked: Mapping[str, Sequence[int]], mode: Mode) -> LanguageModel:
    """The model whose routers leave these experts out (`reroute`) or give them no weight (`silence`, `shared`)."""
    twin = view(model)
    hooks: Mapping[str, nn.Module]
    if mode == "reroute":
        hooks = detours(twin.module, masked)
    else:
        routers = {layer.name: layer.router for layer in mixtures(twin.module)}
        hooks = {routers[name]: Silence(experts) for name, experts in masked.items() if experts}
    for router, hook in hooks.items():
        plant(twin.module.get_submodule(router), hook)
    return twin


def _with(masked: Masked, layer: str, expert: int) -> Masked:
    return {**masked, layer: (*masked.get(layer, ()), expert)}
