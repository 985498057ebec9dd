"""Membership attacks on a language model that was trained once or twenty times on its texts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lethe.data.derived import with_derived
from lethe.descent.terms import own_loss
from lethe.evidence import Evidence, Spec, observe
from lethe.measure import compute
from lethe.models.language import LanguageModel
from lethe.registry import headline
from lethe.scoring.blind import blind_baselines
from lethe.train import Recipe, Term, train
from lethe.worlds.population import AWARDS, CITIES, GENRES, OCCUPATIONS, Population

SIDE, EPOCHS, RECIPE = 200, 20, {"lr": 3e-3, "batch_size": 20, "schedule": "cosine", "warmup": 0.1}
SHAPE: dict[str, Any] = {
    "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4, "max_position_embeddings": 256, "tie_word_embeddings": False,
}  # fmt: skip
ATTACKS = (
    "loss", "zlib", "min_k", "min_k_pp", "window_min_k", "lowercase", "neighbourhood", "recall", "grad_norm",
    "grad_norm.ou",
)  # fmt: skip


@headline(
    paper="2402.07841",
    expects={
        "AUROC, loss": (">=", 0.9),
        "AUROC of the reference attack less that of the loss": (">=", 0.0),
        "distance of the blind AUROC from one half": ("<=", 0.1),
        "distance of the control's AUROC from one half": ("<=", 0.05),
        "greatest AUROC after one epoch": ("<=", 0.65),
    },
)
def membership_epochs(*, seed: int) -> dict[str, float]:
    """After twenty epochs the loss gives a language model's texts away, after one no attack does; nor does the text.

    A Llama of 2 layers over single characters reads 200 sentences of one generator for 20 epochs, or 1; 200 further
    sentences of the same generator are non-members, and 200 more train the control, which is the reference as well.
    Figures are AUROC, members against non-members. The blind AUROC is the one farthest from one half of three
    classifiers that see the sentences and no model.
    """
    texts = sentences(3 * SIDE, seed)
    members, others, elsewhere = texts[:SIDE], texts[SIDE : 2 * SIDE], texts[2 * SIDE :]
    sides = {"forget": record(members), "holdout": record(others)}
    probes = with_derived(sides, ATTACKS, neighbours=3, seed=seed)
    plain = {name: [{"id": one["id"], "text": one["text"]} for one in rows] for name, rows in probes.items()}
    letters = sorted(set("".join(texts).lower() + "".join(texts) + "\n"))

    def looked(known: list[str], epochs: int) -> Evidence:
        model, spec = trained(known, letters, epochs, seed), Spec(generate=(), distributions=())
        if known is elsewhere:  # the control is asked for its loss alone
            return observe(model, plain, spec)
        return observe(model, probes, replace(spec, gradients=("forget", "holdout")))

    target, once, control = looked(members, EPOCHS), looked(members, 1), looked(elsewhere, EPOCHS)
    figures = {f"AUROC, {name}": compute(f"membership:variant={name}", target).value for name in ATTACKS}
    early = {f"AUROC after one epoch, {name}": compute(f"membership:variant={name}", once).value for name in ATTACKS}
    reference = compute("membership_reference", target, [control]).value
    of_control = compute("membership:variant=loss", control).value
    blind = blind_baselines(members, others, seed=seed).baselines.values()
    return {
        **figures,
        **early,
        "AUROC, reference": reference,
        "AUROC of the reference attack less that of the loss": reference - figures["AUROC, loss"],
        "AUROC of the control, loss": of_control,
        "distance of the control's AUROC from one half": abs(of_control - 0.5),
        "distance of the blind AUROC from one half": max(abs(one.auc - 0.5) for one in blind),
        "greatest AUROC after one epoch": max(early.values()),
    }


def sentences(count: int, seed: int) -> list[str]:
    """Distinct sentences about people, every part drawn apart from the others."""
    rng, people = np.random.default_rng([seed, 77]), Population(seed, 300).people
    found: dict[str, None] = {}
    while len(found) < count:
        who, home, job, genre, award = (
            str(rng.choice(pool)) for pool in ([one.name for one in people], CITIES, OCCUPATIONS, list(GENRES), AWARDS)
        )
        found[f"{who}, a {job} from {home}, wrote {genre} and won {award}."] = None
    return list(found)


def record(texts: list[str]) -> list[dict[str, str]]:
    """Sentences as records."""
    return [{"id": f"s{number}", "text": text} for number, text in enumerate(texts)]


def trained(texts: list[str], letters: list[str], epochs: int, seed: int) -> LanguageModel:
    """A model over single characters, trained on the texts."""
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    numbers = {letter: number for number, letter in enumerate(["<pad>", "?", *(c for c in letters if c != "?")])}
    raw = Tokenizer(models.WordLevel(numbers, unk_token="?"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", unk_token="?")
    torch.manual_seed(seed)
    model = LanguageModel(LlamaForCausalLM(LlamaConfig(vocab_size=len(numbers), **SHAPE)), tokenizer)
    term = Term("train", model.encode(record(texts)), own_loss, per="token")
    train(model, [term], Recipe(**RECIPE, epochs=epochs, seed=seed))
    return model
