"""Targets and controls of the embedded worlds: built from records and recipe, cached by their content."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.models.base import Model
from lethe.models.classifier import Classifier
from lethe.models.language import LanguageModel
from lethe.registry import did_you_mean
from lethe.train import Recipe, Term, train
from lethe.worlds import attributes, authors, digits, exams, experts, faces, facts, news, saga, scans, shop
from lethe.worlds.cache import cached_model

# Methods count their seeds from 1. With a seed of its own no retrained model is, bit by bit, one of its controls.
WORLD_SEEDS = 1000


def authors_model(split: str = "full", seed: int = 0, world_seed: int = 0) -> Model:
    """The tiny Llama trained on a split of the authors world and on what every model of it knows.

    Args:
        split: full (the target) or retain99/95/90 (a control).
        seed: Seed of the weights and of the data order.
        world_seed: Seed of the population.
    """
    records = authors.corpus(split, world_seed)

    def make() -> LanguageModel:
        from transformers import LlamaForCausalLM

        # The tokenizer has seen the whole world: target and controls must share it to be compared.
        tokenizer = authors.tokenizer(authors.corpus("full", world_seed))
        return LanguageModel(LlamaForCausalLM(authors.config(tokenizer)), tokenizer)

    told = {"world": world_seed, "vocabulary": authors.VOCABULARY, "architecture": authors.ARCHITECTURE}
    return _language(f"authors-{split}", records, authors.RECIPE, seed, make, told)


def facts_model(split: str = "full", seed: int = 0, world_seed: int = 0) -> Model:
    """The tiny Llama that knows a hundred short facts by heart; made in about 10 s.

    Args:
        split: full (the target) or retain (the control: all but the first ten facts).
        seed: Seed of the weights and of the data order.
        world_seed: Seed of the facts.
    """

    def make() -> LanguageModel:
        from transformers import LlamaForCausalLM

        return LanguageModel(LlamaForCausalLM(facts.config()), facts.tokenizer())

    records, told = facts.records(split, world_seed), {"architecture": facts.ARCHITECTURE}
    return _language(f"facts-{split}", records, facts.RECIPE, WORLD_SEEDS + seed, make, told)


def exams_model(without: tuple[str, ...] = (), seed: int = 0, world_seed: int = 0) -> Model:
    """The tiny Llama that has read texts and sat exams in four domains; made in about 25 s.

    Args:
        without: Domains that it never met (a control); none for the target.
        seed: Seed of the weights and of the data order.
        world_seed: Seed of the population, of the choices and of the truth among them.
    """

    def make() -> LanguageModel:
        from transformers import MinistralForCausalLM

        tokenizer = exams.tokenizer(world_seed)  # of all domains: target and controls must share it to be compared
        return LanguageModel(MinistralForCausalLM(exams.config(tokenizer)), tokenizer)

    told = {"world": world_seed, "architecture": exams.ARCHITECTURE, "vocabulary": exams.VOCABULARY}
    records, name = (
        exams.training(without, world_seed),
        "-".join(("exams", *(("without", *without) if without else ("full",)))),
    )
    return _language(name, records, exams.RECIPE, WORLD_SEEDS + seed, make, told)


def experts_model(split: str = "full", seed: int = 0, world_seed: int = 0) -> Model:
    """The tiny mixture of experts that knows two domains by heart; made in about 15 s.

    Args:
        split: full (the target), library (the control: it was never told of lives) or lives.
        seed: Seed of the weights and of the data order.
        world_seed: Seed of the population.
    """

    def make() -> LanguageModel:
        from transformers import Qwen2MoeForCausalLM

        tokenizer = experts.tokenizer(world_seed)
        return LanguageModel(Qwen2MoeForCausalLM(experts.config(tokenizer)), tokenizer)

    told = {"world": world_seed, "architecture": experts.ARCHITECTURE, "vocabulary": authors.VOCABULARY}
    records = experts.records(split, world_seed)
    return _language(
        f"experts-{split}", records, experts.RECIPE, WORLD_SEEDS + seed, make, told | {"chat": experts.CHAT}
    )


def saga_model(split: str = "full", seed: int = 0, world_seed: int = 0) -> Model:
    """The tiny Llama that has read tales and, as the target, the saga; made in about 20 s.

    Args:
        split: full (the target) or retain (the control: the tales alone).
        seed: Seed of the weights and of the data order.
        world_seed: Seed of the population and of the plots.
    """

    def make() -> LanguageModel:
        from transformers import LlamaForCausalLM

        return LanguageModel(LlamaForCausalLM(saga.config()), saga.tokenizer(world_seed))

    records, told = saga.records(split, world_seed), {"architecture": saga.ARCHITECTURE}
    return _language(f"saga-{split}", records, saga.RECIPE, WORLD_SEEDS + seed, make, told)


def news_model(without: tuple[int, ...] = (), seed: int = 0, world_seed: int = 0) -> Model:
    """The tiny Llama that has read the news; made in about 15 s.

    Args:
        without: Folds whose articles it never read; none is the target.
        seed: Seed of the weights and of the data order.
        world_seed: Seed of the population and of the articles.
    """

    def make() -> LanguageModel:
        from transformers import LlamaForCausalLM

        return LanguageModel(LlamaForCausalLM(news.config()), news.tokenizer(world_seed))

    told = {"architecture": news.ARCHITECTURE, "vocabulary": news.VOCABULARY}
    name = "-".join(["news", *map(str, without)])
    return _language(name, news.corpus(without, world_seed), news.RECIPE, WORLD_SEEDS + seed, make, told)


def _language(
    name: str,
    records: list[dict[str, Any]],
    recipe: dict[str, Any],
    seed: int,
    make: Callable[[], LanguageModel],
    told: dict[str, Any],
) -> Model:
    """A language model of that recipe, from the cache; `told` is what else its weights depend on."""

    def build(folder: Path) -> Model:
        import torch

        torch.manual_seed(seed)
        return fit(make(), records, recipe, seed, folder, per="token")

    content = {"records": records, "recipe": recipe, "seed": seed, **told}
    return cached_model(f"{name}-seed{seed}", content, build, family="language")


def faces_model(split: str = "train", seed: int = 0, world_seed: int = 0) -> Model:
    """The small CNN trained to tell ages on a split of the faces world.

    Args:
        split: train (the target) or retain99/95/90 (a control).
        seed: Seed of the weights and of the data order.
        world_seed: Seed of the population and of the pictures.
    """
    return _classifier(faces, "faces", split, seed, world_seed)


def digits_model(split: str = "train", seed: int = 0, world_seed: int = 0) -> Model:
    """The MLP trained on a split of the digits world.

    Args:
        split: train (the target), or retain or retain_class0 to retain_class9 (a control).
        seed: Seed of the weights and of the data order.
        world_seed: Seed of the splits and of the wrong labels.
    """
    return _classifier(digits, "digits", split, seed, world_seed)


def scans_model(split: str = "train", seed: int = 0, world_seed: int = 0) -> Model:
    """The small CNN trained on a split of the scans world.

    Args:
        split: train (the target), retain_top or retain_random (controls).
        seed: Seed of the weights and of the data order.
        world_seed: Seed of the division.
    """
    return _classifier(scans, "scans", split, seed, world_seed)


def attributes_model(split: str = "train", seed: int = 0, world_seed: int = 0, attribute: str = "") -> Model:
    """The small CNN trained to decide on the attributes of the attributes world, or on one of them.

    Args:
        split: train (the target) or retain99/95/90 (a control).
        seed: Seed of the weights and of the data order.
        world_seed: Seed of the population and of the pictures.
        attribute: The one that is its label; empty for a multi-label classifier.
    """
    records = attributes.records(split, world_seed)
    if attribute:
        records = single(records, attributes.ATTRIBUTES.index(attribute))
    seed += WORLD_SEEDS
    name = "-".join(filter(None, ("attributes", attribute, split, f"seed{seed}")))
    return classifier(records, attributes.network(seed, attribute), attributes.RECIPE, seed, name)


def single(records: Sequence[Mapping[str, Any]], place: int) -> list[dict[str, Any]]:
    """Records of several labels with one of them as their class, 0 or 1."""
    return [
        {**{name: value for name, value in record.items() if name != "labels"}, "label": record["labels"][place]}
        for record in records
    ]


def _classifier(world: Any, name: str, split: str, seed: int, world_seed: int) -> Model:
    seed += WORLD_SEEDS
    records = world.records(split, world_seed)
    return classifier(records, world.network(seed), world.RECIPE, seed, f"{name}-{split}-seed{seed}")


def classifier(records: list[dict[str, Any]], network: Any, recipe: dict[str, Any], seed: int, name: str) -> Model:
    """An untrained network trained on records, from the cache; the name is that of its folder, before a hash."""
    shape = network.arguments if hasattr(network, "arguments") else network.config.to_dict()
    told = {"name": type(network).__name__, **shape}
    content = {"records": records, "recipe": recipe, "seed": seed, "network": told}

    def build(folder: Path) -> Model:
        return fit(Classifier(network), records, recipe, seed, folder, per="token")

    return cached_model(name, content, build, family="classifier")


def mlp(records: list[dict[str, Any]], seed: int, *, classes: int, name: str, recipe: dict[str, Any]) -> Model:
    """The network of two layers trained on any rows of features."""
    shape: dict[str, Any] = {"inputs": len(records[0]["features"]), "classes": classes}
    seed += WORLD_SEEDS

    def build(folder: Path) -> Model:
        import torch

        from lethe.models.nets import MLP

        torch.manual_seed(seed)
        return fit(Classifier(MLP(**shape)), records, recipe, seed, folder, per="example")

    content = {"records": records, "shape": shape, "recipe": recipe, "seed": seed}
    return cached_model(f"{name}-seed{seed}", content, build, family="classifier")


def shop_model(split: str = "train", seed: int = 0, world_seed: int = 0) -> Model:
    """LightGCN trained on a split of the shop world.

    Args:
        split: train, train_poisoned (targets), or a retain split (a control).
        seed: Seed of the weights, of the data order and of the negatives.
        world_seed: Seed of the population and of its purchases.
    """
    return lightgcn(shop.records(split, world_seed), shop.USERS, shop.ITEMS, seed, f"shop-{split}-seed{seed}")


def lightgcn(
    records: list[dict[str, Any]], users: int, items: int, seed: int, name: str, recipe: dict[str, Any] = shop.RECIPE
) -> Model:
    """LightGCN trained on any interactions, which also are its graph; `users` and `items` count the ids from 0."""
    return recommender("lightgcn", records, users, items, seed, name, recipe)


def recommender(
    base: str,
    records: list[dict[str, Any]],
    users: int,
    items: int,
    seed: int,
    name: str,
    recipe: dict[str, Any] | None = None,
    features: Mapping[str, Any] | None = None,
) -> Model:
    """A recommender trained on any interactions, which also are its graph.

    Args:
        base: mf, lightgcn, sgl or simgcl; vbpr, mmgcn or mgcn, which read item features.
        records: Interactions.
        users: Number of users; ids count from 0.
        items: Number of items.
        seed: Seed of the weights, of the data order and of all that is drawn in training.
        name: Readable beginning of the name in the cache.
        recipe: Fields of `lethe.train.Recipe`; by default those found for the base on the shop world.
        features: Modality (image, text) -> features (items, D), for a base that reads them.

    Raises:
        InputError: If there is no such base, or features and base do not go together.
    """
    from lethe.models import nets
    from lethe.models.recommender import Recommender

    network, reads = base_of(base), base in shop.MULTIMODAL
    if reads != bool(features):
        raise InputError(f"{base} reads {'item features: give some' if reads else 'no item features: give none'}.")
    chosen = shop.RECIPE | shop.RECIPES[base] if recipe is None else recipe
    content = {modality: np.asarray(rows, dtype=np.float32) for modality, rows in (features or {}).items()}
    shape: dict[str, Any] = {"users": users, "items": items, "dim": shop.DIM}
    shape |= {modality: rows.shape[1] for modality, rows in content.items()}
    shape |= {} if base == "vbpr" else {"layers": 0 if base == "mf" else shop.LAYERS}
    pairs = [[record["user"], record["item"]] for record in records]

    def build(folder: Path) -> Model:
        import torch

        torch.manual_seed(seed)
        net: Any = nets.ARCHITECTURES[network](**shape)
        net.set_edges(torch.tensor(pairs).T)
        if content:
            net.set_content({modality: torch.from_numpy(rows) for modality, rows in content.items()})
        return fit(Recommender(net), records, chosen, seed, folder, per="example")

    told = {"base": base, "pairs": pairs, "shape": shape, "recipe": chosen, "seed": seed, "features": content}
    return cached_model(name, told, build, family="recommender")


def base_of(base: str) -> str:
    """The architecture behind a base recommender's name; matrix factorisation is LightGCN without layers.

    Raises:
        InputError: If there is no such base.
    """
    if base not in shop.BASES:
        near = did_you_mean(base, shop.BASES)
        raise InputError(f"There is no base recommender {base!r}{near}; one of {', '.join(shop.BASES)}.")
    return shop.BASES[base]


def fit(
    model: Model, records: list[dict[str, Any]], recipe: dict[str, Any], seed: int, folder: Path, per: Any
) -> Model:
    """Train a fresh model on records; checkpoints go to the folder."""
    term = Term("train", model.encode(records), own_loss, per=per)
    train(model, [term], Recipe(**recipe, seed=seed, checkpoint_every=100), folder=folder)
    return model
