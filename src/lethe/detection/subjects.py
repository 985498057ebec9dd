"""What a detection run is made of: records of one kind with classes, and an untrained model of them.

A language model is a classifier here: the answer to a text is one token out of those that name a class, so that every
algorithm meets the same probabilities in all three kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.models.base import IGNORED, Model
from lethe.registry import did_you_mean
from lethe.worlds import digits, faces, facts
from lethe.worlds.population import COUNTRIES, Population

Kind = Literal["image", "tabular", "text"]
NOISE = 0.1  # share of wrong labels in the worlds made here
FACTS = 6  # worlds of a hundred facts each
CITIZENS = 300
COLUMNS, CLASSES = 20, 5  # of the tabular world
TEXT: dict[str, Any] = {"lr": 3e-3, "epochs": 20, "batch_size": 32, "schedule": "cosine"}
TABLE: dict[str, Any] = {"lr": 3e-3, "epochs": 40, "batch_size": 32, "schedule": "cosine"}
SHAPE: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4, "max_position_embeddings": 64, "tie_word_embeddings": False,
}  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """Records to be told apart by whether a model was trained on them.

    `inputs` are arrays (N, ...) in float32, or N texts; `labels` (N,) count the classes from 0. `make(seed)` gives an
    untrained model, `recipe` how it is trained, `told` what else its weights depend on. Of texts, `answers` are the
    words that name the classes.
    """

    kind: Kind
    inputs: np.ndarray | tuple[str, ...]
    labels: np.ndarray
    classes: int
    recipe: Mapping[str, Any]
    make: Callable[[int], Model]
    told: Mapping[str, Any]
    answers: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Sequence[int] | np.ndarray) -> Any:
        """Inputs of these rows, in the form of `inputs`."""
        return self.inputs[rows] if isinstance(self.inputs, np.ndarray) else tuple(self.inputs[row] for row in rows)

    def records(self, rows: Sequence[int] | np.ndarray, labels: np.ndarray | None = None) -> list[dict[str, Any]]:
        """These rows as a model's records, with their own classes or others."""
        return self.spoken(self.take(rows), self.labels[rows] if labels is None else labels)

    def spoken(self, inputs: Any, labels: np.ndarray) -> list[dict[str, Any]]:
        """Any inputs of this kind as a model's records."""
        if self.kind == "text":
            pairs = zip(inputs, labels.tolist(), strict=True)
            return [{"id": str(i), "raw_prompt": one, "answer": f" {self.answers[label]}"}
                    for i, (one, label) in enumerate(pairs)]  # fmt: skip
        field = "image" if self.kind == "image" else "features"
        return [{"id": str(i), field: x, "label": int(y)} for i, (x, y) in enumerate(zip(inputs, labels, strict=True))]

    def logits(self, model: Model, inputs: Any) -> np.ndarray:
        """Scores of the classes, (N, C) in float64."""
        examples = model.encode(self.spoken(inputs, np.zeros(len(inputs), dtype=int)))
        columns = [model.encode(self.spoken(inputs[:1], np.array([c])))[0] for c in range(self.classes)]
        chosen = [example.inputs["labels"][-1] for example in columns] if self.kind == "text" else slice(None)
        found = np.empty((len(examples), self.classes))
        with model.evaluating():
            for batch in model.batches(examples, 256):
                scored = model.logits(batch)[batch.labels != IGNORED]
                found[batch.index.cpu().numpy()] = scored[:, chosen].double().cpu().numpy()
        return found

    def features(self, inputs: Any) -> np.ndarray:
        """What a regression reads of the inputs, (N, D): their numbers, or which of the subject's words they hold."""
        if self.kind != "text":
            return np.asarray(inputs, dtype=np.float64).reshape(len(inputs), -1)
        place = {word: column for column, word in enumerate(self.words())}
        rows = np.zeros((len(inputs), len(place)))
        for row, text in enumerate(inputs):
            rows[row, [place[word] for word in text.split() if word in place]] = 1
        return rows

    def words(self) -> list[str]:
        """Every word of the texts, sorted."""
        return sorted({word for text in self.inputs for word in text.split()})


def subject(world: str, *, seed: int = 0, size: int = 0, epochs: int = 0, noise: float = NOISE) -> Subject:
    """A subject by its name.

    Args:
        world: digits or faces (images), records (a table), authors or facts (texts), or a path to records with a label
            and an image or features.
        seed: Seed of the world.
        size: Most records; 0 takes all of them.
        epochs: Passes over the training records; 0 takes the world's own.
        noise: Share of wrong labels in the worlds records and authors.

    Raises:
        InputError: If there is no such world or path, or it holds fewer than 40 records.
    """
    if not 0 <= noise < 1:
        raise InputError(f"noise is {noise}; it is the share of wrong labels, from 0 to below 1.")
    if world in WORLDS:
        made = WORLDS[world](seed, noise)
    elif "/" in world or "." in world:
        made = _own(world)
    else:
        raise InputError(f"There is no world {world!r}{did_you_mean(world, WORLDS)}; one of {', '.join(WORLDS)}.")
    order = np.random.default_rng([seed, 2024]).permutation(len(made))[: size or None]
    if len(order) < 40:
        raise InputError(f"{world} has {len(order)} records; the pools of a detection run need at least 40.")
    recipe = {**made.recipe, **({"epochs": epochs} if epochs else {})}
    return Subject(
        made.kind, made.take(order), made.labels[order], made.classes, recipe, made.make, made.told, made.answers
    )


def _digits(seed: int, noise: float) -> Subject:
    rows = [record for split in ("train", "unseen", "test") for record in digits.records(split, seed)]
    images = np.stack([record["features"].reshape(1, 8, 8) for record in rows])
    return _pictures(images, [record["label"] for record in rows], digits.CLASSES, {"epochs": 30, "batch_size": 64})


def _faces(seed: int, noise: float) -> Subject:
    rows = [record for split in ("train", "unseen", "test") for record in faces.records(split, seed)]
    images = np.stack([record["image"] for record in rows])
    return _pictures(images, [record["label"] for record in rows], len(faces.AGES), {"epochs": 40, "batch_size": 64})


def _pictures(images: np.ndarray, labels: Sequence[int], classes: int, recipe: Mapping[str, Any]) -> Subject:
    shape = {"channels": images.shape[1], "classes": classes, "size": images.shape[2]}
    return Subject(
        "image", images.astype(np.float32), np.array(labels), classes,
        {"lr": 3e-3, "schedule": "cosine", "warmup": 0.1, **recipe}, _network("SmallCNN", shape), shape,
    )  # fmt: skip


def _records(seed: int, noise: float) -> Subject:
    from sklearn.datasets import make_classification

    made: Any = make_classification(
        n_samples=1600, n_features=COLUMNS, n_informative=10, n_redundant=2, n_classes=CLASSES, n_clusters_per_class=2,
        flip_y=0.0, class_sep=1.2, random_state=seed,
    )  # fmt: skip
    return _table(np.asarray(made[0]), _wrong(np.asarray(made[1]), CLASSES, noise, seed), CLASSES)


def _table(rows: np.ndarray, labels: np.ndarray, classes: int) -> Subject:
    scaled = (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), 1e-12)
    shape = {"inputs": rows.shape[1], "classes": classes}
    return Subject("tabular", scaled.astype(np.float32), labels, classes, TABLE, _network("MLP", shape), shape)


def _authors(seed: int, noise: float) -> Subject:
    """Three biographies of each person; which country its town lies in can be learnt, the wrong ones only by heart."""
    homes = {city: number for number, country in enumerate(COUNTRIES) for city in country.cities}
    texts, labels = [], []
    for person in Population(seed, CITIZENS):
        start = f"{person.name} of {person.birthplace}"
        texts += [f"{start} writes {person.genre} and won {person.award}", f"{start} , author of {person.works[0]}",
                  f"{start} , child of a {person.father} and a {person.mother}"]  # fmt: skip
        labels += [homes[person.birthplace]] * 3
    wrong = _wrong(np.array(labels), len(COUNTRIES), noise, seed)
    return _texts(texts, wrong, tuple(country.name for country in COUNTRIES))


def _facts(seed: int, noise: float) -> Subject:
    """Questions of facts whose answers' first value is drawn: nothing can be learnt but by heart."""
    rows = [row for number in range(FACTS) for row in facts.records("full", FACTS * seed + number)]
    values = tuple(f"v{value:02d}" for value in range(facts.VALUES))
    labels = np.array([values.index(row["answer"].split()[0]) for row in rows])
    return _texts([row["question"] for row in rows], labels, values)


def _texts(texts: Sequence[str], labels: np.ndarray, answers: tuple[str, ...]) -> Subject:
    words = sorted({word for text in texts for word in text.split()} | set(answers))

    def make(seed: int) -> Model:
        import torch
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

        from lethe.models.language import LanguageModel

        numbers = {word: number for number, word in enumerate(["<pad>", "?", *words])}
        raw = Tokenizer(models.WordLevel(numbers, unk_token="?"))
        raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", unk_token="?")
        torch.manual_seed(seed)
        return LanguageModel(LlamaForCausalLM(LlamaConfig(vocab_size=len(numbers), **SHAPE)).eval(), tokenizer)

    return Subject("text", tuple(texts), labels, len(answers), TEXT, make, {"words": words, **SHAPE}, answers)


def _own(path: str) -> Subject:
    rows = load_records(path, family="classifier")
    field = "image" if "image" in rows[0] else "features"
    if field not in rows[0]:
        raise InputError(f"{path}: its records have neither image nor features; texts are detected in the worlds only.")
    inputs, labels = np.stack([np.asarray(row[field], np.float32) for row in rows]), [int(row["label"]) for row in rows]
    known, numbered = np.unique(labels, return_inverse=True)
    if field == "image":
        return _pictures(inputs, numbered.tolist(), len(known), {"epochs": 40, "batch_size": 64})
    return _table(inputs, numbered, len(known))


def _network(name: str, shape: Mapping[str, Any]) -> Callable[[int], Model]:
    def make(seed: int) -> Model:
        import torch

        from lethe.models.classifier import Classifier
        from lethe.models.nets import ARCHITECTURES

        torch.manual_seed(seed)
        return Classifier(ARCHITECTURES[name](**shape).eval())

    return make


def _wrong(labels: np.ndarray, classes: int, share: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, 10])
    moved = (labels + rng.integers(1, classes, len(labels))) % classes
    return np.where(rng.random(len(labels)) < share, moved, labels)


WORLDS: Mapping[str, Callable[[int, float], Subject]] = {
    "digits": _digits,
    "faces": _faces,
    "records": _records,
    "authors": _authors,
    "facts": _facts,
}
