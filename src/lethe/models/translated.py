"""A record beside its translation by anchored terms, token by token (Who's Harry Potter, arXiv 2310.02238)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lethe.data.anchors import Translation, aligned, translate
from lethe.errors import InputError
from lethe.models.base import IGNORED, Batch, Example
from lethe.models.language import LanguageModel
from lethe.request import Record


@dataclass(frozen=True)
class Block:
    """What of one record can be learnt from its translation.

    `example` is the record without the labels of positions that have no counterpart, and of names already met.
    `places` holds per position the one of `translated` after which the same has been read. `said` are (position,
    tokens): from there on, these tokens would only name a counterpart that has been named before.
    """

    example: Example
    translated: Example
    places: list[int]
    said: list[tuple[int, list[int]]]


def text_of(model: LanguageModel, record: Record) -> str:
    """The text that a record is encoded from, without special tokens."""
    if "text" in record:
        return str(record["text"])
    return model.prompt(record["question"]) + ("" if _chats(model) else " ") + str(record["answer"])


def make_blocks(model: LanguageModel, records: Sequence[Record], anchors: Mapping[str, str]) -> list[Block]:
    """Every record beside its translation.

    Raises:
        InputError: If the tokenizer cannot tell where its tokens stand, or a translation exceeds the model's context.
    """
    if not model.tokenizer.is_fast:
        raise InputError("Translating anchored terms needs a fast tokenizer, which tells where its tokens stand.")
    return [_block(model, record, example, anchors) for record, example in
            zip(records, model.encode(records), strict=True)]  # fmt: skip


def _block(model: LanguageModel, record: Record, example: Example, anchors: Mapping[str, str]) -> Block:
    text, special = text_of(model, record), "text" in record or not _chats(model)
    translation = translate(text, anchors)
    ends, (new, new_ends) = _tokens(model, text, special)[1], _tokens(model, translation.text, special)
    if len(new) > model.max_length:
        raise InputError(
            f"record {record.get('id')!r} has {len(new)} tokens once its terms are translated, more than the context "
            f"of {model.max_length}; choose shorter counterparts, or split it."
        )
    ends += [len(text) + 1] * (example.length - len(ends))  # an end-of-sequence token follows the text
    found = aligned(ends, new_ends, translation)[: example.length - 1]
    again = _repeated(translation)
    labels = [
        IGNORED if place is None or any(start < ends[t + 1] <= end for start, end in again) else label
        for t, (label, place) in enumerate(zip(example.inputs["labels"], found, strict=True))
    ]
    first = {one.term: one.end for one in reversed(translation.occurrences)}
    said = [
        (next(t for t, end in enumerate(ends) if end >= place), _openings(model, anchors[term]))
        for term, place in first.items()
    ]
    translated = Example({"input_ids": new, "labels": [IGNORED] * (len(new) - 1)}, 0, len(new))
    return Block(labelled(example, labels), translated, [place or 0 for place in found], said)


def labelled(example: Example, labels: list[int]) -> Example:
    """The same example with other labels."""
    size = sum(label != IGNORED for label in labels)
    return Example({**example.inputs, "labels": labels}, size, example.length)


def translated_logits(model: LanguageModel, batch: Batch, blocks: Sequence[Block]) -> Tensor:
    """Logits (B, T, V) that the model gives on the translations, each at the place that fits the original's."""
    new = model.collate([block.translated for block in blocks], range(len(blocks))).to(batch.labels.device)
    places = torch.zeros_like(batch.labels)
    for row, block in enumerate(blocks):
        places[row, : len(block.places)] = torch.tensor(block.places)
    logits = model.module(**new.inputs, use_cache=False).logits
    return logits.gather(1, places.unsqueeze(-1).expand(-1, -1, logits.shape[-1]))


def _tokens(model: LanguageModel, text: str, special: bool) -> tuple[list[int], list[int]]:
    """Token ids, and the character behind each."""
    encoded: Any = model.tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
    return list(encoded["input_ids"]), [end for _, end in encoded["offset_mapping"]]


def _repeated(translation: Translation) -> list[tuple[int, int]]:
    """Where terms stand that stood before."""
    met: set[str] = set()
    spans = []
    for one in translation.occurrences:
        if one.term in met:
            spans.append((one.start, one.end))
        met.add(one.term)
    return spans


def _openings(model: LanguageModel, counterpart: str) -> list[int]:
    """The tokens that a counterpart may begin with, its article left aside."""
    name = re.sub(r"^(?:the|an?)\s", "", counterpart, flags=re.I)
    return sorted({model.tokenizer(form, add_special_tokens=False)["input_ids"][0] for form in (name, f" {name}")})


def _chats(model: LanguageModel) -> bool:
    return bool(getattr(model.tokenizer, "chat_template", None))
