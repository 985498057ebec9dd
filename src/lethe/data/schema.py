"""What a record of each family may hold, as data; `lethe.data.check` reads it.

To add a family, add an entry to `SCHEMAS`. Fields that a schema does not name are carried along untouched.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from lethe.errors import InputError

Record = Mapping[str, Any]

# What the value of a field must be.
KINDS = {
    "text": "a text that is not blank",
    "texts": "a list of texts",
    "wordings": "a text that is not blank, or a list of such texts",
    "index": "a whole number of 0 or more",
    "class": "a whole number of 0 or more, or a class name",
    "decisions": "a list of 0 and 1, one for each attribute",
    "name": "a text or a whole number",
    "vector": "a list of finite numbers",
    "image": "an image file's path or bytes, or a float array (C, H, W) in [0, 1]",
}


@dataclass(frozen=True)
class Alias:
    """A field name of some official data set, with the name (and values) that Lethe uses for it."""

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)  # empty: values are taken as they are


@dataclass(frozen=True)
class Schema:
    """The fields of one family's records."""

    family: str
    fields: Mapping[str, str]  # name -> kind
    forms: tuple[tuple[str, ...], ...]  # a record holds all fields of exactly one of these
    aliases: Mapping[str, Alias]
    mixed: bool = False  # whether records may hold different fields

    @property
    def needed(self) -> str:
        """The forms, as a person would say them."""
        return " or ".join("{" + ", ".join(form) + "}" for form in self.forms)


_COMMON = {"split": "name"}
_OF_INTERACTIONS = {
    "uid": Alias("user"),  # CURE4Rec
    "iid": Alias("item"),
    "userID": Alias("user"),  # MMRec
    "itemID": Alias("item"),
    "user_id": Alias("user"),  # RecBole
    "item_id": Alias("item"),
}
# What `lethe.data.jailbreaks` rewrites a question with: the question in other words, in another language or asking for
# the name, and texts to stand before it.
ASKED_OTHERWISE = ("synonym_question", "translated_question", "reversed_question", "background", "excerpt")

SCHEMAS: dict[str, Schema] = {
    "language": Schema(
        family="language",
        fields=_COMMON
        | {
            "question": "text",
            "answer": "text",
            "text": "text",
            "entity": "name",
            "paraphrased_question": "wordings",
            "paraphrased_answer": "text",
            "perturbed_answer": "texts",
            **dict.fromkeys(ASKED_OTHERWISE, "text"),
            "raw_prompt": "text",
            "answer_prefix": "text",
            "choices": "texts",
            "key": "index",
        },
        forms=(("question", "answer"), ("text",), ("raw_prompt", "answer"), ("question", "choices", "key")),
        aliases={"prompt": Alias("question")},
    ),
    "classifier": Schema(
        family="classifier",
        fields=_COMMON
        | {"image": "image", "features": "vector", "label": "class", "labels": "decisions", "identity": "name"},
        forms=(("image", "label"), ("features", "label"), ("image", "labels"), ("features", "labels")),
        aliases={
            "image_path": Alias("image"),
            "age_class": Alias("label", {letter: index for index, letter in enumerate("abcdefgh")}),  # MUFAC
        },
    ),
    "recommender": Schema(
        family="recommender",
        fields=_COMMON | {"user": "index", "item": "index"},
        forms=(("user", "item"),),
        aliases=_OF_INTERACTIONS | {"x_label": Alias("split", {"0": "train", "1": "valid", "2": "test"})},
    ),
    "deletion": Schema(  # a request to a recommender: interactions, whole users or whole items
        family="deletion",
        fields={"user": "index", "item": "index", "modality": "text"},
        forms=((),),
        aliases=_OF_INTERACTIONS,
        mixed=True,
    ),
}


def schema_of(family: str) -> Schema:
    """The schema of a family.

    Raises:
        InputError: If there is none, with the nearest name.
    """
    if family not in SCHEMAS:
        raise InputError(f"There is no family {family!r}; {nearest(family, SCHEMAS)}")
    return SCHEMAS[family]


def nearest(name: str, known: Collection[str]) -> str:
    """What to say to someone who named something that does not exist; a sentence's end."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"there is {', '.join(map(repr, sorted(known)))}."
