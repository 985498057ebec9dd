"""Search for tokens that, put into every question, make the answers likely (GCG, arXiv 2307.15043).

Every record is a `Frame` around a slot: what stands before the searched tokens, and what stands behind them. Nothing is
padded, since all candidates are equally long; the keys and values of what stands before a change are computed once for
all candidates. Only tokens that come back when their text is spelt again are tried: what is found is a string, and
works as one.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lethe.data.order import mix
from lethe.descent.activations import answer_nll
from lethe.errors import InputError
from lethe.losses.tokens import cross_entropy
from lethe.models.base import IGNORED, Example
from lethe.models.language import LanguageModel
from lethe.models.steered import site, view
from lethe.request import Record

Placing = Callable[[Record, str], Record]
"""A record with a string put into its question."""

Position = Literal["prefix", "suffix"]
Variant = Literal["gcg", "autoprompt"]

TOKENS = 1 << 14  # of candidates in one forward pass
PROBES = 8  # words that are put into a slot to see where it begins and ends
TRIES = 512  # tokens that are tried as the first of a search


@dataclass(frozen=True)
class Frame:
    """Token ids of a record before and behind its slot; the last `scored` of them are the answer."""

    before: tuple[int, ...]
    behind: tuple[int, ...]
    scored: int

    def example(self, tokens: Sequence[int]) -> Example:
        """The record with these tokens in its slot."""
        ids = [*self.before, *tokens, *self.behind]
        labels = [IGNORED] * (len(ids) - self.scored) + ids[len(ids) - self.scored :]
        return Example({"input_ids": ids, "labels": labels[1:]}, self.scored, len(ids))


def common(rows: Sequence[Sequence[int]]) -> list[int]:
    """What all rows begin with."""
    same = takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))
    return [column[0] for column in same]


def placed(record: Record, text: str, position: Position = "prefix") -> Record:
    """The record with a string before or behind its question; no string leaves it as it is."""
    if not text:
        return record
    question = str(record["question"])
    return {**record, "question": f"{text} {question}" if position == "prefix" else f"{question} {text}"}


def usable(model: LanguageModel, taboo: Sequence[Record] = ()) -> list[int]:
    """Ids of the tokens that are plain visible ASCII, neither special nor added, and in no answer of these records.

    What a string says itself need not be known: a model may repeat it, and so may one that never knew.
    """
    tokenizer: Any = model.tokenizer
    kept = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    kept.update(label for example in model.encode(taboo) for label in example.inputs["labels"])
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    return [token for token, text in enumerate(texts)
            if token not in kept and text.isascii() and text.isprintable() and text.strip()]  # fmt: skip


def framed(model: LanguageModel, records: Sequence[Record], tokens: Sequence[int], placing: Placing) -> list[Frame]:
    """Every record around its slot: what stays the same whatever word stands in it."""
    texts = model.tokenizer.batch_decode([[token] for token in tokens])
    words = [text.strip() for text in texts if text.strip().isalpha()] or [text.strip() for text in texts]
    probes = words[:: max(1, len(words) // PROBES)][:PROBES]
    found = []
    for record in records:
        examples = model.encode([placing(record, word) for word in probes])
        spelt = [example.inputs["input_ids"] for example in examples]
        before, behind = common(spelt), common([ids[::-1] for ids in spelt])[::-1]
        found.append(Frame(tuple(before), tuple(behind), examples[0].size))
    return found


def survivors(
    model: LanguageModel, record: Record, frame: Frame, placing: Placing, candidates: Sequence[Sequence[int]]
) -> list[list[int]]:
    """The candidates whose text, put into the record, is spelt with the same tokens; each of them once."""
    different = list(dict.fromkeys(map(tuple, candidates)))
    spelt = [example.inputs["input_ids"] for example in
             model.encode([placing(record, text_of(model, tokens)) for tokens in different])]  # fmt: skip
    return [list(tokens) for tokens, ids in zip(different, spelt, strict=True)
            if list(ids) == [*frame.before, *tokens, *frame.behind]]  # fmt: skip


def text_of(model: LanguageModel, tokens: Sequence[int]) -> str:
    """The string that tokens stand for."""
    return str(model.tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False)).strip()


def candidate_losses(
    model: LanguageModel, frames: Sequence[Frame], candidates: Sequence[Sequence[int]], *, cached: bool = True
) -> Tensor:
    """(K,) mean over the frames of each answer's mean loss per token with each candidate in the slot, nats.

    Args:
        model: The model; one that keeps no keys and values reads every token for every candidate.
        frames: The records.
        candidates: K rows of equally many tokens.
        cached: Read what stands before the slot, and what all candidates begin with, once instead of K times.
    """
    shared = min(len(common(candidates)), len(candidates[0]) - 1)
    total = torch.zeros(len(candidates), dtype=torch.float64)
    with model.evaluating():
        for frame in frames:
            head = torch.tensor([[*frame.before, *candidates[0][:shared]]], device=model.device)
            tails = torch.tensor([[*row[shared:], *frame.behind] for row in candidates], device=model.device)
            past = _past(model, head) if cached else None
            parts = tails.split(max(1, TOKENS // (head.shape[1] + tails.shape[1])))
            total += torch.cat([_answer_losses(model, head, part, frame.scored, past) for part in parts])
    return total / len(frames)


def _past(model: LanguageModel, head: Tensor) -> Any:
    """Keys and values (1, ...) of a beginning; None where there is none, or the architecture keeps none."""
    return getattr(model.module(input_ids=head, use_cache=True), "past_key_values", None) if head.numel() else None


def _answer_losses(model: LanguageModel, head: Tensor, tails: Tensor, scored: int, past: Any) -> Tensor:
    """Mean loss (K,) of the last `scored` tokens of each row; `past` stands for the head where there is one."""
    module, count = model.module, len(tails)
    given: dict[str, Any] = {"attention_mask": tails.new_ones(count, head.shape[1] + tails.shape[1])}
    if past is None:
        given |= {"input_ids": torch.cat([head.expand(count, -1), tails], 1), "use_cache": False}
    else:
        own = copy.deepcopy(past)  # a pass appends to what it is given
        own.batch_repeat_interleave(count)
        given |= {"input_ids": tails, "past_key_values": own, "use_cache": True}
    if "logits_to_keep" in inspect.signature(module.forward).parameters:
        given["logits_to_keep"] = scored + 1
    logits = module(**given).logits[:, -scored - 1 : -1]
    return cross_entropy(logits, tails[:, -scored:]).double().mean(1).cpu()


def slopes(model: LanguageModel, frames: Sequence[Frame], tokens: Sequence[int]) -> Tensor:
    """Gradient (L, V) of the mean loss to which token stands at each place of the slot; -value is the promised gain.

    Args:
        model: A `view`, whose weights ask for no gradient.
        frames: The records.
        tokens: What stands in the slot.
    """
    table: Any = site(model, "embeddings")
    seen: list[Tensor] = []

    def watch(_: nn.Module, __: Any, states: Tensor) -> Tensor:
        seen.append(states.detach().requires_grad_())
        return seen[-1]

    hook = table.register_forward_hook(watch)
    total = torch.zeros(len(tokens), table.weight.shape[1], device=model.device)
    try:
        with torch.enable_grad():
            examples = [frame.example(tokens) for frame in frames]
            for batch in model.batches(examples, 16):
                seen.clear()
                loss = (model.loss(batch) / model.sizes(batch)).sum() / len(frames)
                (slope,) = torch.autograd.grad(loss, [seen[0]])
                for row, number in enumerate(batch.index.tolist()):
                    first = len(frames[number].before)
                    total += slope[row, first : first + len(tokens)].float()
    finally:
        hook.remove()
    return total @ table.weight.detach().float().T


def proposals(
    slope: Tensor, tokens: Sequence[int], allowed: Tensor, variant: Variant, top_k: int, count: int,
    step: int, rng: torch.Generator,
) -> list[list[int]]:  # fmt: skip
    """Rows that differ from `tokens` in one place, by a token that the gradient promises to help.

    Args:
        slope: Gradient (L, V).
        tokens: L token ids.
        allowed: Ids of the tokens that may be put in.
        variant: gcg draws place and token, the token among the `top_k` of its place; autoprompt takes one place per
            step, one after the other, and the best `count` tokens of it.
        top_k: Tokens per place that gcg draws from.
        count: Rows.
        step: Number of the step, from 0.
        rng: Source of the draws.
    """
    gains = -slope.cpu()[:, allowed]
    if variant == "autoprompt":
        places = torch.full((min(count, len(allowed)),), step % len(tokens))
        chosen = allowed[gains[places[0]].topk(len(places)).indices]
    else:
        best = allowed[gains.topk(min(top_k, len(allowed)), dim=1).indices]
        places = torch.randint(len(tokens), (count,), generator=rng)
        chosen = best[places, torch.randint(best.shape[1], (count,), generator=rng)]
    rows = torch.tensor(tokens).repeat(len(places), 1)
    rows[torch.arange(len(places)), places] = chosen
    return rows.tolist()


def search(
    model: LanguageModel,
    records: Sequence[Record],
    placing: Placing,
    *,
    asked: Sequence[Record],
    length: int,
    steps: int,
    variant: Variant,
    top_k: int,
    candidates: int,
    seed: int,
) -> Iterator[tuple[str, float]]:
    """The best string so far and its loss on the records (`answer_nll`), before the first step and after each.

    It begins with no string at all, so that the loss never rises, and with one token repeated. The losses are those of
    the string, put into the records and spelt anew.

    Args:
        model: The attacked model.
        records: What the attacker holds.
        placing: Where the string stands.
        asked: Records that will be asked with the string: it has room in all, and has no token of their answers.
        length: Tokens of the string.
        steps: Steps.
        variant: See `proposals`.
        top_k: Likewise.
        candidates: Strings per step, at most.
        seed: Seed of all draws.

    Raises:
        InputError: If a string of that length does not fit the context, or none is spelt with the tokens that it was
            made of.
    """
    rng = torch.Generator().manual_seed(mix(seed, 59))
    allowed = torch.tensor(usable(model, asked))
    frames = framed(model, records, allowed.tolist(), placing)
    nearest = min(range(len(records)), key=lambda row: len(frames[row].before) + len(frames[row].behind))
    survive = partial(survivors, model, records[nearest], frames[nearest], placing)
    watched = view(model)
    best, least = "", answer_nll(model, model.encode(records))
    yield best, least
    if not steps:
        return

    def fits(text: str, wanted: Sequence[Record]) -> bool:
        return all(model.fitting([placing(record, text)]) is not None for record in wanted)

    longest = max(len(frame.before) + len(frame.behind) for frame in frames)
    tokens = _start(allowed, length, survive, rng) if longest + length <= model.max_length else []
    if not tokens or not fits(text_of(model, tokens), asked):
        raise InputError(
            f"token search: a string of {length} tokens has no room beside every question and answer in the model's "
            f"context of {model.max_length} tokens; take a smaller length."
        )
    for step in range(steps):
        rows = proposals(slopes(watched, frames, tokens), tokens, allowed, variant, top_k, candidates, step, rng)
        rows = survive([tokens, *rows] if variant == "autoprompt" else rows)
        if rows:
            tokens = rows[int(candidate_losses(model, frames, rows).argmin())]
        text = text_of(model, tokens)
        if fits(text, records):
            loss = answer_nll(model, model.encode([placing(record, text) for record in records]))
            if loss < least and fits(text, asked):
                best, least = text, loss
        yield best, least


def _start(
    allowed: Tensor, length: int, survive: Callable[[list[list[int]]], list[list[int]]], rng: torch.Generator
) -> list[int]:
    """One token, repeated, that is spelt as it was made."""
    drawn = allowed[torch.randperm(len(allowed), generator=rng)[:TRIES]].tolist()
    for token in drawn:
        if found := survive([[token] * length]):
            return found[0]
    raise InputError(
        f"token search: none of {len(drawn)} tokens, {length} times in a row, is spelt as it was made; "
        "take another length."
    )
