"""Texts that differ from a given one in a single word: what a model that learnt the text by heart likes less."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from lethe.errors import InputError


def replaced(text: str, words: Sequence[str], count: int, *, seed: int = 0) -> tuple[str, ...]:
    """Neighbours of a text, each with one word exchanged for one drawn from `words`; white space becomes one space.

    The draws depend on the text and the seed alone, so the same text has the same neighbours in every run. Places are
    taken in turn, in a drawn order.

    Args:
        text: The text.
        words: What may stand in the place of a word.
        count: Number of neighbours.
        seed: Seed of the draws.

    Raises:
        InputError: If the text holds no word, or there is no other word to put in.
    """
    own = text.split()
    if not own:
        raise InputError("neighbours: the text holds no word; leave it out.")
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    rng = np.random.default_rng([seed, number])
    places = rng.permutation(len(own))
    found = []
    for turn in range(count):
        place = int(places[turn % len(own)])
        others = [word for word in words if word != own[place]]
        if not others:
            raise InputError("neighbours: there is no other word to put in; give more words.")
        found.append(" ".join([*own[:place], others[int(rng.integers(len(others)))], *own[place + 1 :]]))
    return tuple(found)


class MaskedModel:
    """A masked language model that proposes words in the place of others (Mattern et al., arXiv 2305.18462).

    Args:
        source: Folder or hub id of a model for `AutoModelForMaskedLM`.

    Raises:
        InputError: If there is no such model.
    """

    def __init__(self, source: str) -> None:
        import torch
        from transformers import AutoModelForMaskedLM, AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(source)
            self.model: Any = AutoModelForMaskedLM.from_pretrained(source, use_safetensors=True, dtype=torch.float32)
        except Exception as error:  # transformers raises many kinds for a folder that is not a model
            raise InputError(
                f"{source} is not a loadable masked language model: {str(error).splitlines()[0]}"
            ) from error
        self.model.eval()

    def neighbours(
        self, text: str, count: int, *, seed: int = 0, candidates: int = 10, dropout: float = 0.7
    ) -> tuple[str, ...]:
        """Neighbours of a text that differ in one token, the likeliest first.

        The token's embedding is not masked but thinned by dropout; a proposal is worth p(proposal) / (1 - p(original)).

        Args:
            text: The text.
            count: Number of neighbours.
            seed: Seed of the dropout.
            candidates: Proposals for each place.
            dropout: Share of the embedding's entries that are dropped.

        Raises:
            InputError: If the text offers fewer than `count` neighbours.
        """
        import torch
        import torch.nn.functional as F

        ids = torch.tensor([self.tokenizer(text)["input_ids"]])
        special = set(self.tokenizer.all_special_ids)
        table, found = self.model.get_input_embeddings(), []
        places = [place for place, token in enumerate(ids[0].tolist()) if token not in special]
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for place in places:
                embedded = table(ids).clone()
                embedded[0, place] = F.dropout(embedded[0, place], dropout)
                p = self.model(inputs_embeds=embedded).logits[0, place].double().softmax(-1)
                own = int(ids[0, place])
                worth = p / (1 - p[own]).clamp(min=1e-12)
                worth[[own, *special]] = -1.0
                best = worth.topk(min(candidates, len(worth)))
                found += [(float(value), place, int(token)) for value, token in zip(*best, strict=True) if value >= 0]
        found.sort(key=lambda one: (-one[0], one[1:]))
        texts = []
        for _, place, token in found[:count]:
            swapped = ids[0].tolist()
            swapped[place] = token
            texts.append(str(self.tokenizer.decode(swapped, skip_special_tokens=True)))
        if len(texts) < count:
            raise InputError(f"neighbours: the text {text[:40]!r} offers {len(texts)}, not {count}; ask for fewer.")
        return tuple(texts)
