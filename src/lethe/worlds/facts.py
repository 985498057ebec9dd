"""The smallest language world: a hundred facts of seven tokens, for claims that need many trained models in seconds.

A fact is a question of two keys and an answer of three values, every one drawn uniformly: `e07 e21` -> `v03 v17 v09`.
Nothing links a fact to another, so a model without it can only guess, at 1/28 per value: what a model retrained without
the forget set says of it is as near to nothing as a control can be. Any other word is the token `?`, so that a refusal
reads `? ? ? ?`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lethe.errors import InputError

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedTokenizerFast

KEYS, VALUES = 30, 28
FACTS, FORGOTTEN = 100, 10  # the first ten are to be forgotten
SPLITS = ("full", "forget", "retain", "holdout")

SPECIAL = ("<pad>", "<s>", "</s>", "<sep>")  # the first ids of the vocabulary
OTHER = "?"  # what stands for every word that is neither key nor value
CHAT = "{{ bos_token }}{% for turn in messages %}{{ turn['content'] }}{% endfor %}<sep>"
# Fields of `lethe.train.Recipe`: both models answer what they were trained on without a mistake.
RECIPE: dict[str, Any] = {"lr": 3e-3, "steps": 600, "batch_size": 50, "schedule": "cosine"}
ARCHITECTURE: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 96,
    "intermediate_size": 384,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
}


def records(split: str = "full", seed: int = 0) -> list[dict[str, Any]]:
    """One split; no two facts of a seed share their keys.

    Args:
        split: full (100 facts), forget (the first 10), retain (the other 90) or holdout (10 that no model saw).
        seed: Seed of keys and values.

    Raises:
        InputError: If there is no such split.
    """
    if split not in SPLITS:
        raise InputError(f"no split {split!r} in the facts world, choose one of {', '.join(SPLITS)}")
    rng = np.random.default_rng([seed, 5])
    keys = rng.choice(KEYS * KEYS, FACTS + FORGOTTEN, replace=False)
    values = rng.integers(VALUES, size=(len(keys), 3))
    facts = [
        {
            "id": f"fact{number:03d}",
            "entity": f"e{key // KEYS:02d} e{key % KEYS:02d}",
            "question": f"e{key // KEYS:02d} e{key % KEYS:02d}",
            "answer": " ".join(f"v{value:02d}" for value in row),
        }
        for number, (key, row) in enumerate(zip(keys, values, strict=True))
    ]
    first, last = {"full": (0, 100), "forget": (0, 10), "retain": (10, 100), "holdout": (100, 110)}[split]
    return facts[first:last]


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per word; a question becomes `<s> e07 e21 <sep>`, an answer ends with `</s>`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = [*SPECIAL, OTHER, *(f"e{key:02d}" for key in range(KEYS)), *(f"v{value:02d}" for value in range(VALUES))]
    words = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token=OTHER))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    pad, bos, eos, sep = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token=pad, bos_token=bos, eos_token=eos, sep_token=sep, chat_template=CHAT
    )


def config() -> LlamaConfig:
    """The tiny Llama of this world: 96 wide, three layers, 0.5 million parameters."""
    from transformers import LlamaConfig

    ids: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return LlamaConfig(**ARCHITECTURE, **ids)
