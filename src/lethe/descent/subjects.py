"""Who a request is about, and where in a text the model has just read the name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lethe.data.names import names_in, nearest_name
from lethe.errors import InputError
from lethe.models.language import LanguageModel
from lethe.request import Record

NAMED_IN = ("subject", "name", "entity")  # fields of a record that may hold the name itself
# The six contexts of ROCR (arXiv 2506.07795); the first, with the name alone, is where the concept's value is read.
CONTEXTS = (
    "{}",
    "Please answer the question about {}",
    "Choose the best answer about {}",
    "Write the answer about {}",
    "Tell me about {}",
    "Write something about {}",
)


def text_of(record: Record) -> str:
    """All that a record says."""
    parts = ("text", "question", "answer")
    return " ".join(str(record[part]) for part in parts if part in record)


def subjects(records: Sequence[Record], given: Sequence[str], who: str) -> list[str]:
    """The names that the records are about, each once, in their order.

    A name is one that is given, or the record's field subject, name or entity where that stands in its text, or else
    the longest capitalised name that its question and its answer share.

    Raises:
        InputError: If a name that is given, or a record's subject or name, stands in no text, or a record shows no
            name: with the nearest name that is there.
    """
    if given:
        texts = [text_of(record) for record in records]
        for name in given:
            if not any(occurs(name, text) for text in texts):
                raise InputError(f"{who}: {_absent(name, ' '.join(texts))}")
        return list(dict.fromkeys(given))
    return list(dict.fromkeys(_subject(record, row, who) for row, record in enumerate(records, 1)))


def occurs(name: str, text: str) -> bool:
    """Whether a name stands in a text as whole words."""
    return bool(name.strip()) and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _subject(record: Mapping[str, Any], row: int, who: str) -> str:
    text, where = text_of(record), f"{who}: forget row {row} ({record['id']!r})"
    for field in NAMED_IN:
        if field in record and occurs(str(record[field]), text):
            return str(record[field])
        if field in record and field != "entity":  # an entity may be an identifier, these are names
            raise InputError(f"{where}, field {field!r}: {_absent(str(record[field]), text)}")
    asked, answered = str(record.get("question", "")), str(record.get("answer", ""))
    shared = [name for name in names_in(asked) if occurs(name, answered)]
    if not shared:
        raise InputError(
            f"{where}: nothing tells whom it is about; give `subjects`, or the record a field 'subject' with the name "
            f"as it stands in the text (there are {', '.join(names_in(text)[:5]) or 'no capitalised names'})."
        )
    return max(shared, key=len)


def _absent(name: str, text: str) -> str:
    return f"the subject {name!r} does not occur in the text{nearest_name(name, text)}"


def contexts(model: LanguageModel, name: str) -> list[tuple[list[int], int]]:
    """Token ids of every context of a name, and the position of the name's last token in each."""
    chat = bool(getattr(model.tokenizer, "chat_template", None))
    ending = "Answer:" if chat else ""  # without a chat template the prompt itself ends so
    return [located(model, model.prompt(context.format(name)) + ending, name) for context in CONTEXTS]


def value_context(model: LanguageModel, name: str, bare: bool = False) -> tuple[list[int], int]:
    """The place where a concept's value is read: the name and a full stop, in the first context or with nothing."""
    return located(model, f"{name}." if bare else model.prompt(f"{name}."), name)


def located(model: LanguageModel, text: str, name: str) -> tuple[list[int], int]:
    """Token ids of a text, and the position of the last token of a name's last occurrence.

    Found by character offsets after tokenising the whole: a leading space, a merge across the boundary and special
    tokens all move it.

    Raises:
        InputError: If the name is not in the text, or the tokenizer cannot tell offsets.
    """
    end = text.rfind(name) + len(name)
    if not name or name not in text:
        raise InputError(f"{name!r} does not occur in {text!r}{nearest_name(name, text)}")
    if not model.tokenizer.is_fast:
        raise InputError("This model's tokenizer tells no offsets; load it in its fast form to locate a subject.")
    chat = bool(getattr(model.tokenizer, "chat_template", None))
    encoded = model.tokenizer(text, add_special_tokens=not chat, return_offsets_mapping=True)
    offsets: Any = encoded["offset_mapping"]
    last = max(i for i, (start, stop) in enumerate(offsets) if start < end and stop > start)
    ids: Any = encoded["input_ids"]
    return list(ids), last
