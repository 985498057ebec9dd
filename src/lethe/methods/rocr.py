"""Rank-one concept redirection."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lethe.descent import concepts
from lethe.descent.subjects import contexts, located, occurs, text_of, value_context
from lethe.descent.subjects import subjects as named
from lethe.errors import InputError
from lethe.losses.rank_one import null_space, portion, redirect
from lethe.models.language import LanguageModel
from lethe.models.projections import OutputProjection, layer_number, output_projections
from lethe.registry import method
from lethe.request import Request
from lethe.tracking import Log

PUBLISHED = {4: 32, 5: 32, 6: 32}  # edited layers and depth of the paper's models


@method(
    families={"language"},
    needs={"hidden"},
    intent="suppression",
    level="parameter",
    paper="2506.07795",
    requires={"forget", "retain"},
    presets={"paper": {"layers": (4, 5, 6), "threshold": 0.02, "relative": False, "ridge": 1.0}},
    departs={"at": "answer"},
)
def rocr(
    model: LanguageModel,
    request: Request,
    *,
    subjects: tuple[str, ...] = (),
    mode: Literal["unrelated", "reject", "noise"] = "unrelated",
    replacement: str = "Zorvan Quillmere",
    at: Literal["subject", "answer"] = "subject",
    layers: tuple[int, ...] = (),
    threshold: float = 0.1,
    relative: bool = True,
    ridge: float = 0.1,
    variant: Literal["paper", "reference"] = "paper",
    cache: Path | None = None,
    folder: Path | None = None,
) -> LanguageModel:
    """ROCR: rewrite what a subject's name means in the early MLPs, in closed form, whatever is asked about it.

    At the last token of the name, the output of the edited blocks becomes that of a harmless concept, spread over the
    layers; only the MLPs' output projections change, and only where the retain texts' keys have (almost) no part. It is
    redirection: the facts stay in the weights, and aliases and pronouns do not fire the key. Seconds, no training.

    Args:
        subjects: Names to redirect, as they stand in the forget texts; read from the records where none is given.
        mode: What the name then means: another (made-up) subject, a value that makes the model refuse, or noise; with
            at=answer another subject only.
        replacement: The unrelated subject; a made-up name, so that nobody inherits anybody's facts.
        at: Where the edit reads: at the name's last token in the paper's six contexts, or where the answers to the
            forget questions begin (not the paper's ROCR: for models of two or three layers, which look a name up only
            there; it binds the form of the question).
        layers: Blocks to edit, from 0; by default those in the place of the paper's 4, 5 and 6 of 32.
        threshold: Second moment of the retain keys below which a direction is free to be used.
        relative: Whether the threshold is a share of the largest eigenvalue (else in squared units of activation).
        ridge: Weight of the size of the edit; the part k'Pk / (ridge + k'Pk) of each redirection is realised.
        variant: paper reads the new and the old value in one context; reference reads the old one from the bare name.
        cache: Folder that keeps the statistics of the retain texts for the next request.
        folder: Where the log (rank of the free space, part of each redirection realised) goes.

    Raises:
        InputError: If a subject does not occur in the forget texts, the replacement is empty, a layer does not exist,
            no direction is free, or at=answer is given a mode or variant, which it does not have.
    """
    if at == "answer" and (mode, variant) != ("unrelated", "paper"):
        raise InputError(f"rocr: mode={mode}, variant={variant} do nothing with at=answer; leave them, or at=subject.")
    if not replacement.strip():
        raise InputError("rocr: replacement is empty; give the name of another subject, made up or not.")
    edited = model.copy()
    projections = output_projections(edited)
    count = len(projections)
    wanted = layers or tuple(count * layer // depth for layer, depth in PUBLISHED.items())
    chosen = [projections[i] for i in sorted({layer_number(layer, count, "rocr") for layer in wanted})]
    moments = concepts.second_moments(edited, request.retain, chosen, cache)
    spaces = {layer: null_space(moment, threshold, relative) for layer, moment in moments.items()}
    for layer, space in spaces.items():
        if not space.rank:
            least = float(space.values[0]) / (float(space.values[-1]) if relative else 1.0)
            raise InputError(
                f"rocr: no direction of layer {layer} lies below threshold={threshold:g}, so nothing could be edited; "
                f"the smallest is {least:.3g}: raise the threshold, or keep fewer texts."
            )
    log = Log.of_process(folder, "rocr")
    log.start(0, 0)
    kept: dict[int, list[Tensor]] = {layer: [] for layer in spaces}
    last, step = chosen[-1].layer, 0
    for number, name in enumerate(named(request.forget, subjects, "rocr")):
        if at == "answer":
            read = _prompts(edited, request, name, name)
            before, target = read, concepts.values(edited, _prompts(edited, request, name, replacement), last)
        else:
            read, before = contexts(edited, name), [value_context(edited, name, bare=variant == "reference")]
            target = _target(edited, name, mode, replacement, last, request.seed + number)

        def keys(projection: OutputProjection, read: list[concepts.Place] = read) -> Tensor:
            found = concepts.keys(edited, read, projection)
            return found if at == "answer" else found.mean(1, keepdim=True)

        for place, projection in enumerate(chosen):
            space, own = spaces[projection.layer], keys(projection)
            residual = portion(target, concepts.values(edited, before, last), place, len(chosen))
            change = redirect(own, residual, space, ridge, torch.cat([own[:, :0], *kept[projection.layer]], 1))
            with torch.no_grad():
                projection.matrix.add_(change.to(projection.matrix.dtype))
            realised = float((change @ own).norm() / residual.norm().clamp(min=1e-12))
            step += 1
            log.row({"step": step, "layer": projection.layer, "rank": space.rank, "realised": realised})
        for projection in chosen:
            kept[projection.layer].append(keys(projection))
    log.finish()
    return edited


def _prompts(model: LanguageModel, request: Request, name: str, said: str) -> list[concepts.Place]:
    """The last token of every forget prompt about a name, with what is said in its place."""
    asked = [str(record.get("question", "")) for record in request.forget if occurs(name, text_of(record))]
    found = [located(model, model.prompt(one.replace(name, said)), said) for one in asked if occurs(name, one)]
    if not found:
        raise InputError(f"rocr: at=answer needs forget questions that name {name!r}; give some, or at=subject.")
    return [(ids, len(ids) - 1) for ids, _ in found]


def _target(model: LanguageModel, name: str, mode: str, replacement: str, layer: int, seed: int) -> Tensor:
    """z* (D, 1): what the name's last token is to look like behind the last edited block."""
    if mode == "unrelated":
        return concepts.values(model, [value_context(model, replacement)], layer)
    refusing = concepts.refusing_value(model, name, layer)[:, None]
    if mode == "reject":
        return refusing
    noise = torch.randn(refusing.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (noise * (refusing.norm().cpu() / noise.norm())).to(refusing.device)
