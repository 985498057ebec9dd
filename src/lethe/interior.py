"""What a model holds inside: hidden states of a set's records, and what the output embedding reads from every layer.

A language model of L blocks has L + 1 states: the embeddings, and the output of every block, of which the last has
passed the final norm, as transformers hands it out. The logit lens puts the others through that norm, and no state
through it twice (arXiv 2505.01456, whose own code does). A classifier has one state per block of convolutions or linear
layers, pooled over places to one vector; the last, `PENULTIMATE`, is what its last linear layer reads.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lethe.looking import better
from lethe.models.base import IGNORED, Batch, Example, Model
from lethe.models.classifier import Classifier
from lethe.models.language import LanguageModel
from lethe.models.recommender import Recommender

Lens = Callable[[Tensor, bool], Tensor]
BATCH = 16  # texts per pass: all their states are held at once
WHAT = {  # else a logit lens
    "hidden": "hidden states",
    "parting": "hidden states where right and wrong answers part",
    "alone": "scores without an item's own embedding",
}
PENULTIMATE, OUTPUT = "penultimate", "output"
LENS = ("logp", "reciprocal_rank", "first_logp", "first_rank", "rise", "bend")


def look(model: Model, examples: Sequence[Example], sets: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Arrays by "set.what", one row per record; nothing for a family without hidden states or features.

    hidden (N, L + 1, D): at the last position of the prompt. parting (N, L + 1, D), where records have wrong answers:
    at the position that predicts the first token in which the right answer, in the words of the wrong ones (the
    paraphrase, where there is any), differs from one of them; what was read up to there gives nothing away.

    The lens, of the right answer's own text: logp and reciprocal_rank (N, L + 1), means over its tokens, of which the
    last layer's logp is the model's own; first_logp and first_rank (N, L + 1), of its first token. rise (N, L, 2) and
    bend (N, L - 1, 2): ranks of the first token from the top and from the bottom among the changes of probability from
    layer to layer, and among the changes of these. A rank is 0 for the best; of equals the lower id stands first.

    Of a classifier: hidden (N, 1, D), what its last linear layer reads; layerNN.NAME (N, D), what each block before
    gives, in their order; output (N, classes), the logits.

    Of a recommender: alone (N, 2), what an item scores, and the share of the catalogue that it outranks, for its user
    once the ID embeddings of all the set's items are 0: what content and graph tell without them.

    What a model does not have is left out: there is no lens where what stands between its last block and its logits is
    more than a norm, the output embedding and a scale or cap that its configuration tells.

    Args:
        model: The model; it is not changed.
        examples: All texts.
        sets: Numbers of the texts by set and role.
    """
    sets = {name: roles for name, roles in sets.items() if len(roles["answer"])}
    if isinstance(model, LanguageModel):
        return {f"{name}.{what}": rows for name in sets for what, rows in _language(model, examples, sets[name])}
    if isinstance(model, Classifier) and any(isinstance(module, nn.Linear) for module in model.module.modules()):
        told = [(name, *one) for name, roles in sets.items() for one in _features(model, examples, roles["answer"])]
        return {f"{name}.{what}": rows for name, what, rows in told}
    if isinstance(model, Recommender):
        return {f"{name}.alone": _alone(model, [examples[i] for i in sets[name]["answer"]]) for name in sets}
    return {}


def layers(inside: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The states (N, D) of a set's records by the name of their layer, from the first to the last; {} without any.

    Args:
        inside: What `look` gave.
        name: The set.
    """
    if f"{name}.hidden" not in inside:
        return {}
    hidden, start = inside[f"{name}.hidden"], f"{name}.layer"
    blocks = sorted(key for key in inside if key.startswith(start))
    if hidden.shape[1] == 1:
        return {key[len(start) + 3 :]: inside[key] for key in blocks} | {PENULTIMATE: hidden[:, 0]}
    return {f"block {number}" if number else "embeddings": hidden[:, number] for number in range(hidden.shape[1])}


def _alone(model: Recommender, examples: Sequence[Example]) -> np.ndarray:
    users, items = (torch.tensor([example.inputs[side] for example in examples]) for side in ("user", "item"))
    bare = model.copy()
    bare.guard = None
    rows = []
    with bare.evaluating():
        bare.net.item_table.weight[items.unique()] = 0
        for who, what in zip(users.split(BATCH), items.split(BATCH), strict=True):
            scores = bare.scores(who.to(bare.device)).float()
            own = scores.gather(1, what[:, None].to(scores.device))
            rows.append(torch.cat([own, (scores < own).float().sum(1, keepdim=True) / (scores.shape[1] - 1)], 1))
    return torch.cat(rows).cpu().numpy()


def _features(model: Classifier, examples: Sequence[Example], numbers: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    found: dict[str, list[np.ndarray]] = {}
    with model.evaluating(), _watched(model.module) as seen:
        for batch in model.batches([examples[i] for i in numbers]):
            seen.clear()
            features = model.features(batch).flatten(1)
            *before, (_, output) = seen.items()
            states = {f"layer{number:02d}.{name}": state for number, (name, state) in enumerate(before[:-1])}
            for name, values in {"hidden": features[:, None], **states, OUTPUT: output}.items():
                rows = found.setdefault(name, [np.empty(0)] * len(numbers))
                for row, value in zip(batch.index.tolist(), values.float().cpu().numpy(), strict=True):
                    rows[row] = value
    yield from ((name, np.stack(rows)) for name, rows in found.items())


@contextmanager
def _watched(module: nn.Module) -> Iterator[dict[str, Tensor]]:
    """What the blocks give during a forward pass, (B, D) by their names, and last the model's output.

    transformers hands out its own stages; elsewhere a block is what stands in the lists of a network. The last block's
    output is what the last linear layer reads, up to activation and pooling.
    """
    seen: dict[str, Tensor] = {}
    staged = hasattr(getattr(module, "config", None), "output_hidden_states")

    def ask(_: nn.Module, inputs: Any, named: Any) -> tuple[Any, Any]:
        return inputs, {**named, "output_hidden_states": True}

    def finish(_: nn.Module, __: Any, output: Any) -> None:
        for number, state in enumerate(getattr(output, "hidden_states", None) or ()):
            seen[f"stage {number}" if number else "embeddings"] = _pooled(state)
        seen[OUTPUT] = getattr(output, "logits", output).flatten(1)

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            seen[name] = _pooled(output[0] if isinstance(output, tuple) else output)

        return hook

    linear = [part for part in module.modules() if isinstance(part, nn.Linear)][-1]
    hooks = [module.register_forward_hook(finish)]
    if staged:
        hooks.append(module.register_forward_pre_hook(ask, with_kwargs=True))
    else:
        parted = hasattr(module, "constituents")  # an ensemble: one layer each, side by side, is not its next layer
        blocks = ((name, block) for name, block in _blocks(module) if not parted and linear not in block.modules())
        hooks += [block.register_forward_hook(keep(name)) for name, block in blocks]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _blocks(module: nn.Module, above: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The parts with weight matrices, those inside of lists of several one by one."""
    for name, part in module.named_children():
        if any(_is_list(inner) for inner in part.modules()):
            yield from _blocks(part, f"{above}{name}.")
        elif _is_heavy(part):
            yield f"{above}{name}", part


def _is_heavy(part: nn.Module) -> bool:
    return any(weight.dim() > 1 for weight in part.parameters())


def _is_list(part: nn.Module) -> bool:
    """Of blocks; the shortcut of a residual block, a convolution with its norm, is none."""
    return isinstance(part, nn.ModuleList | nn.Sequential) and sum(map(_is_heavy, part.children())) > 1


def _pooled(state: Tensor) -> Tensor:
    """(B, D): the mean over places, of maps (B, D, H, W) or of tokens (B, T, D)."""
    return state.mean(1) if state.dim() == 3 else state.flatten(2).mean(2) if state.dim() > 3 else state


def _language(
    model: LanguageModel, examples: Sequence[Example], roles: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    bare = copy.copy(model)
    bare.module = model.inner  # what is wrapped around a model for decoding has no inside of its own
    answers = [examples[i] for i in roles["answer"]]
    found: dict[str, list[np.ndarray]] = {}
    with model.evaluating():
        lens = _lens(bare, answers[0])
        for batch in bare.batches(answers, BATCH):
            states, _ = _states(bare, batch)
            first = (batch.labels != IGNORED).int().argmax(1)
            every = torch.arange(len(batch), device=first.device)
            at_first = torch.stack([state[every, first] for state in states], 1)  # (B, L + 1, D)
            seen = {"hidden": at_first.float().cpu().numpy()}
            seen |= read(lens, states, batch.labels, first) if lens else {}
            for name, values in seen.items():
                rows = found.setdefault(name, [np.empty(0)] * len(answers))
                for row, value in zip(batch.index.tolist(), values, strict=True):
                    rows[row] = value
    yield from ((name, np.stack(values)) for name, values in found.items())
    wrong = _wrong(roles)
    if wrong is not None:
        right = roles.get("paraphrase", roles["answer"]) if "perturbed" in roles else roles["answer"]
        yield "parting", _parting(bare, examples, right, wrong)


def _wrong(roles: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Numbers of the wrong answers (N, K)."""
    if "perturbed" in roles:
        return roles["perturbed"]
    if "choices" in roles:
        others = [[i for i in row if i != own] for row, own in zip(roles["choices"], roles["answer"], strict=True)]
        width = min(map(len, others))
        return np.array([row[:width] for row in others]) if width else None
    return None


def _parting(model: LanguageModel, examples: Sequence[Example], right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """States (N, L + 1, D) where the right answer's next token is the first in which a wrong one differs from it."""
    rows: list[np.ndarray] = [np.empty(0)] * len(right)
    places = [
        min(_shared(examples[own].inputs["labels"], examples[other].inputs["labels"]) for other in others)
        for own, others in zip(right, wrong, strict=True)
    ]
    with model.evaluating():
        for batch in model.batches([examples[i] for i in right], BATCH):
            index = batch.index.tolist()
            states, at = _states(model, batch)[0], [places[row] for row in index]
            for row, value in zip(index, torch.stack([state[range(len(at)), at] for state in states], 1), strict=True):
                rows[row] = value.float().cpu().numpy()
    return np.stack(rows)


def _shared(own: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning, less than that of the first."""
    pairs = enumerate(zip(own, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(own), len(other)) - 1)


def _states(model: LanguageModel, batch: Batch) -> tuple[list[Tensor], Tensor]:
    """The L + 1 states (B, T, D) and the logits (B, T, V), aligned with the labels."""
    output = model.module(**batch.inputs, use_cache=False, output_hidden_states=True)
    return [state[:, :-1] for state in output.hidden_states], output.logits[:, :-1]


def read(lens: Lens, states: Sequence[Tensor], labels: Tensor, first: Tensor) -> dict[str, np.ndarray]:
    """What a lens reads of the labels in every layer, one row per text: see `look`.

    Args:
        lens: State (M, D), and whether it is the last -> logits (M, V).
        states: L + 1 of them, (B, T, D).
        labels: Tokens that the positions predict, (B, T).
        first: Place of every text's first scored token, (B,).
    """
    scored = labels != IGNORED
    text = scored.nonzero()[:, 0]
    place = torch.cat([first.new_zeros(1), scored.sum(1).cumsum(0)[:-1]])  # of every text's first scored token
    own = labels[scored][:, None]
    counts = scored.sum(1).float()
    columns: dict[str, list[Tensor]] = {name: [] for name in LENS}
    history: list[Tensor] = []  # probabilities of the last three layers at the first token, (B, V) each
    for number, state in enumerate(states):
        scores = lens(state[scored], number == len(states) - 1)
        logp = scores.log_softmax(-1)
        rank = better(scores, own).sum(-1)
        mine = logp.gather(-1, own).squeeze(-1)
        for name, values in (("logp", mine), ("reciprocal_rank", 1 / (1 + rank.float()))):
            columns[name].append(counts.new_zeros(len(counts)).index_add(0, text, values) / counts)
        columns["first_logp"].append(mine[place])
        columns["first_rank"].append(rank[place].to(torch.int32))
        history = [*history[-2:], logp[place].double().exp()]
        if len(history) > 1:
            columns["rise"].append(_extremes(history[-1] - history[-2], own[place]))
        if len(history) > 2:
            columns["bend"].append(_extremes(history[-1] - 2 * history[-2] + history[-3], own[place]))
    missing = first.new_zeros((len(counts), 0, 2), dtype=torch.int32)
    stacked = {name: torch.stack(parts, 1) if parts else missing for name, parts in columns.items()}
    return {name: values.cpu().numpy() for name, values in stacked.items()}


def _extremes(change: Tensor, own: Tensor) -> Tensor:
    """Ranks (B, 2) of the own token from the top and from the bottom."""
    return torch.stack([better(side, own).sum(-1) for side in (change, -change)], -1).to(torch.int32)


def _lens(model: LanguageModel, example: Example) -> Lens | None:
    """The way from a state to its logits, held against the model's own on one text; None where they differ."""
    module: Any = model.module
    head, config = module.get_output_embeddings(), module.config
    batch = model.collate([example], [0]).to(model.device)
    norm, raw = _final_norm(model, batch)
    scale = (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)
    cap = getattr(config, "final_logit_softcapping", None)

    def lens(state: Tensor, last: bool) -> Tensor:
        scores = head(state if last or norm is None else norm(state)).float() * scale
        return cap * torch.tanh(scores / cap) if cap else scores

    states, logits = _states(model, batch)
    read_off = (lens(states[-1], True), lens(raw[:, :-1], False))
    same = all(torch.allclose(scores, logits.float(), rtol=1e-4, atol=1e-4) for scores in read_off)
    return lens if same else None


def _final_norm(model: LanguageModel, batch: Batch) -> tuple[nn.Module | None, Tensor]:
    """The module that takes what the last block gives, None where the output embedding does; and what it is given."""
    blocks = model.blocks()
    inside = {id(module) for block in blocks for module in block.modules()}
    given: list[Tensor] = []
    takers: list[nn.Module] = []

    def keep(_: nn.Module, __: Any, output: Any) -> None:
        given.append(output[0] if isinstance(output, tuple) else output)

    def watch(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if given and inputs and inputs[0] is given[-1]:
            takers.append(module)

    hooks: list[Any] = [blocks[-1].register_forward_hook(keep)]
    hooks += [m.register_forward_pre_hook(watch) for m in model.module.modules() if id(m) not in inside]
    try:
        model.module(**batch.inputs, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    head: Any = model.module.get_output_embeddings()  # pyright: ignore[reportCallIssue]
    return next((module for module in takers if module is not head), None), given[-1]
