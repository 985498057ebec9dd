"""What was observed of one model on a set of probes: one pass per distinct text, one generation per distinct prompt.

Metrics are pure functions of `Evidence`; nothing asks the model twice. Observations are cached on disk under the hash
of the model (weights, configuration, tokenizer), of the probes and of the specification.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lethe import interior, looking
from lethe.data.atomic import folder as atomic_folder
from lethe.data.content import digest
from lethe.errors import InputError
from lethe.looking import SAID, TOKEN_FIELDS, Probes
from lethe.models.base import Model
from lethe.models.language import LanguageModel
from lethe.registry import did_you_mean
from lethe.request import Record
from lethe.traces import Traces, look

__all__ = ["SAID", "TOKEN_FIELDS", "Evidence", "Probes", "Spec", "observe"]

FIELDS = {  # by role
    "answer": "answer",
    "paraphrase": "paraphrased_answer",
    "perturbed": "perturbed_answer",
    "choices": "choices",
}
ARRAYS = ("traces", "gradients", "interior", "rankings", "untrained")  # parts of an evidence that are arrays by name


@dataclass(frozen=True)
class Spec:
    """What to observe.

    Args:
        max_new_tokens: Longest generation, tokens.
        budgets: Longest generation of single sets, (name, tokens), where it is another.
        total: Most tokens of a prompt and its generation together; 0 bounds the generation alone.
        generate: Sets whose questions are answered by greedy decoding; "*" stands for all.
        distributions: Sets whose answer distributions are kept whole (for the distance to a control).
        rows: Most records per set of which the distribution is kept.
        memory: Room for the distributions of all sets together, MiB; a set keeps its first records, as many as fit into
            its share. A token of a vocabulary of 128,000 takes half a MiB.
        traces: Value vectors to look at; none where it is None.
        gradients: Sets of which the gradient of every text's loss is measured: one backward pass per distinct text.
        interior: Sets whose hidden states are kept, with what the output embedding reads from every layer: one pass
            more per text, and 4 bytes for each layer times its width (of a classifier pooled over places); twice that
            where records have wrong answers.
        samples: Answers drawn at temperature 1 for each record of single sets, (name, number).
        seed: Seed of these draws.
        top: Length of the lists of items that are kept of every user of a recommender.
        untrained: Sets on which a network of the model's architecture with newly drawn weights is looked at as well.
    """

    max_new_tokens: int = 48
    budgets: tuple[tuple[str, int], ...] = ()
    total: int = 0
    generate: tuple[str, ...] = ("*",)
    distributions: tuple[str, ...] = ("forget", "retain")
    rows: int = 300
    memory: float = 2048.0
    traces: Traces | None = None
    gradients: tuple[str, ...] = ()
    interior: tuple[str, ...] = ()
    samples: tuple[tuple[str, int], ...] = ()
    seed: int = 0
    top: int = 50
    untrained: tuple[str, ...] = ()


@dataclass
class Evidence:
    """Everything observed of one model.

    Token arrays are flat over the distinct texts; `offsets` (N + 1) cuts them. `index[set][role]` holds, per record,
    the numbers of its texts: (N,) for the answer and its paraphrase, (N, K) for K perturbed answers or K choices;
    further roles are those of the records' `derived` texts (`lethe.data.derived`).
    """

    family: str
    model: str
    probes: str
    offsets: np.ndarray
    tokens: dict[str, np.ndarray]  # logp, hit, mean and std of log p under the model, rank of the true token
    index: dict[str, dict[str, np.ndarray]]
    records: dict[str, list[dict[str, Any]]]  # the scalar and text fields of every probe record
    generations: dict[str, list[str]]
    distributions: dict[int, np.ndarray] = field(default_factory=dict)  # text number -> (n, V) log-probabilities
    passes: dict[str, int] = field(default_factory=dict)
    traces: dict[str, np.ndarray] = field(default_factory=dict)  # as `lethe.traces.look` gives them
    gradients: dict[str, np.ndarray] = field(default_factory=dict)  # "set.p" -> norms, see `gradient_norms`
    interior: dict[str, np.ndarray] = field(default_factory=dict)  # "set.what", see `lethe.interior.look`
    samples: dict[str, list[list[str]]] = field(default_factory=dict)  # set -> drawn answers of every record
    rankings: dict[str, np.ndarray] = field(default_factory=dict)  # of a recommender, see `lethe.looking.rankings`
    untrained: dict[str, np.ndarray] = field(default_factory=dict)  # set -> log-probabilities of random weights
    key: str = ""  # of model, probes and specification together: the name under which it is cached

    def sets(self) -> list[str]:
        """Names of the probe sets."""
        return list(self.index)

    def has(self, name: str, role: str = "answer") -> bool:
        """Whether a set was observed in that role."""
        return role in self.index.get(name, {})

    def texts(self, name: str, role: str = "answer") -> np.ndarray:
        """Numbers of the texts of a set's records, (N,) or (N, K).

        Raises:
            InputError: If the set was not observed, or its records hold nothing for that role.
        """
        if role not in self._observed(name):
            raise InputError(
                f"The records of the set {name!r} have no {FIELDS.get(role, role)}; give it to every one of them."
            )
        return self.index[name][role]

    def _observed(self, name: str) -> Mapping[str, np.ndarray]:
        if name not in self.index:
            raise InputError(f"The set {name!r} was not observed; observed were {', '.join(self.index)}.")
        return self.index[name]

    def per_token(self, name: str, role: str = "answer", what: str = "logp") -> list[np.ndarray]:
        """One array (n_i,) per record of a token quantity: logp, hit, mean, std or rank."""
        values = self.tokens[what]
        return [values[self.offsets[i] : self.offsets[i + 1]] for i in self.texts(name, role)]

    def nll(self, name: str, role: str = "answer") -> np.ndarray:
        """Mean negative log-likelihood per token in nats, (N,) or (N, K)."""
        sums = np.add.reduceat(self.tokens["logp"].astype(np.float64), self.offsets[:-1])
        return (-sums / np.diff(self.offsets))[self.texts(name, role)]

    def sizes(self, name: str, role: str = "answer") -> np.ndarray:
        """Number of scored tokens, (N,) or (N, K)."""
        return np.diff(self.offsets)[self.texts(name, role)]

    def distribution(self, name: str) -> list[np.ndarray]:
        """Log-probabilities (n_i, V) of the answers whose distribution was kept, in the order of the records."""
        return [self.distributions[i] for i in self.texts(name) if i in self.distributions]

    def gradient_norms(self, name: str, p: str = "2") -> np.ndarray:
        """Norm (p = 2 or inf) of the gradient of each record's mean token loss in every parameter tensor, (N, P).

        Raises:
            InputError: If no gradients of the set were observed.
        """
        if f"{name}.{p}" not in self.gradients:
            raise InputError(f"No gradients of the set {name!r} were observed; name it in Spec.gradients.")
        return self.gradients[f"{name}.{p}"]

    def inside(self, name: str, what: str = "hidden") -> np.ndarray:
        """What `lethe.interior.look` kept of a set under that name; one row per record.

        Raises:
            InputError: If it was not observed.
        """
        if f"{name}.{what}" not in self.interior:
            asked = interior.WHAT.get(what, "logit lenses")
            raise InputError(
                f"Of the set {name!r} no {asked} were observed; name it in Spec.interior, of a model and records that "
                "have them."
            )
        return self.interior[f"{name}.{what}"]

    def layers(self, name: str) -> dict[str, np.ndarray]:
        """States (N, D) of a set's records by the name of their layer, from the first to the last.

        Raises:
            InputError: If none were observed.
        """
        self.inside(name)
        return interior.layers(self.interior, name)

    def layer(self, name: str, layer: str) -> np.ndarray:
        """States (N, D) of a set's records in one layer; of a classifier "output" stands for its logits.

        Raises:
            InputError: If none were observed, or there is no such layer (with the nearest that there is).
        """
        known = self.layers(name)
        if f"{name}.{interior.OUTPUT}" in self.interior:
            known[interior.OUTPUT] = self.interior[f"{name}.{interior.OUTPUT}"]
        if layer not in known:
            raise InputError(f"There is no layer {layer!r}{did_you_mean(layer, known)}; it has {', '.join(known)}.")
        return known[layer]

    def sampled(self, name: str) -> list[list[str]]:
        """The drawn answers of every record.

        Raises:
            InputError: If none were drawn for the set.
        """
        if name not in self.samples:
            raise InputError(f"No answers to the set {name!r} were sampled; name it in Spec.samples, with a number.")
        return self.samples[name]

    def scored(self, name: str) -> np.ndarray:
        """A recommender's own score of every interaction of a set, (N,): an inner product, no probability.

        Raises:
            InputError: If the model is no recommender, or the set was not observed.
        """
        numbers = self.texts(name)
        if "level" not in self.rankings:
            raise InputError(f"The set {name!r} has no scores: they are a recommender's.")
        logp = self.tokens["logp"].astype(np.float64)[self.offsets[numbers]]
        rows = np.searchsorted(self.rankings["users"], np.array(self.column(name, "user"), dtype=np.int64))
        return logp + self.rankings["level"].astype(np.float64)[rows]

    def of_untrained(self, name: str) -> np.ndarray:
        """Log-probabilities (N, T, C) of a network of this architecture with random weights, the same for all models.

        Raises:
            InputError: If it was not looked at on that set.
        """
        if name not in self.untrained:
            raise InputError(f"No untrained network was looked at on the set {name!r}; name it in Spec.untrained.")
        return self.untrained[name]

    def generated(self, name: str) -> list[str]:
        """Greedy answers (empty list where none were asked for)."""
        return self.generations.get(name, [])

    def column(self, name: str, key: str) -> list[Any]:
        """One field of the probe records."""
        self._observed(name)
        return [record.get(key) for record in self.records[name]]

    def save(self, folder: str | Path) -> None:
        """Write the evidence as safetensors and JSON, whole or not at all."""
        from safetensors.numpy import save_file

        arrays = {"offsets": self.offsets, **{f"tokens.{k}": v for k, v in self.tokens.items()}}
        arrays |= {f"index.{s}.{r}": v for s, roles in self.index.items() for r, v in roles.items()}
        arrays |= {f"distribution.{i}": v for i, v in self.distributions.items()}
        arrays |= {f"{part}.{k}": v for part in ARRAYS for k, v in getattr(self, part).items()}
        told = ("family", "model", "probes", "records", "generations", "samples", "passes")
        meta = {k: getattr(self, k) for k in told}
        with atomic_folder(folder) as temporary:
            save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, temporary / "evidence.safetensors")
            (temporary / "evidence.json").write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Evidence:
        """Read what `save` wrote; what a damaged folder raises depends on the damage."""
        from safetensors.numpy import load_file

        arrays = load_file(Path(folder) / "evidence.safetensors")
        meta = json.loads((Path(folder) / "evidence.json").read_text(encoding="utf-8"))
        index: dict[str, dict[str, np.ndarray]] = {}
        for key, value in arrays.items():
            if key.startswith("index."):
                name, role = key[len("index.") :].rsplit(".", 1)
                index.setdefault(name, {})[role] = value
        tokens = {k: arrays[f"tokens.{k}"] for k in TOKEN_FIELDS}
        kept = {int(k.split(".")[1]): v for k, v in arrays.items() if k.startswith("distribution.")}
        parts = {p: {k[len(p) + 1 :]: v for k, v in arrays.items() if k.startswith(f"{p}.")} for p in ARRAYS}
        # The order of the sets is that of the records (a JSON object keeps it).
        return cls(
            offsets=arrays["offsets"], tokens=tokens, distributions=kept, **parts,
            index={name: index[name] for name in meta["records"]}, **meta,
        )  # fmt: skip


def observe(
    model: Model, probes: Probes, spec: Spec | None = None, *, cache: str | Path | None = None, batch_size: int = 64
) -> Evidence:
    """Look at a model once.

    Args:
        model: The model; it is not changed.
        probes: Set name -> records.
        spec: What to observe.
        cache: Folder of the evidence cache; None caches nothing.
        batch_size: Texts per forward pass.
    """
    spec = spec or Spec()
    fingerprint = digest({name: list(records) for name, records in probes.items()})
    key = hashlib.sha256(f"{model.behaviour()}{fingerprint}{json.dumps(asdict(spec))}".encode()).hexdigest()[:32]
    stored = Path(cache) / key if cache is not None else None
    if stored is not None and (known := _stored(stored)) is not None:
        return replace(known, key=key)
    evidence = replace(_look(model, probes, fingerprint, spec, batch_size), key=key)
    if stored is not None:
        evidence.save(stored)
    return evidence


def _stored(folder: Path) -> Evidence | None:
    """Cached evidence; nothing where there is none or it is damaged (observing again mends that)."""
    from safetensors import SafetensorError

    try:
        return Evidence.load(folder)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None


def _look(model: Model, probes: Probes, fingerprint: str, spec: Spec, batch_size: int) -> Evidence:
    texts: dict[str, tuple[int, Record]] = {}
    index = {name: looking.numbered(records, texts) for name, records in probes.items()}
    examples = model.encode([record for _, record in texts.values()])
    found: list[dict[str, np.ndarray]] = [{}] * len(examples)
    distributions: dict[int, np.ndarray] = {}
    keep: set[int] | None = None
    lists: dict[str, np.ndarray] = {}
    with model.evaluating():
        if model.family == "recommender":
            looks = looking.rankings(model, examples, looking.left_out(probes), spec.top, lists)
        else:
            batches = model.batches(examples, batch_size)
            looks = (look for batch in batches for look in looking.tokens(model, batch))
        for row, values, logp in looks:
            if keep is None:  # how wide a distribution is shows with the first
                keep = _kept(index, spec, [example.size for example in examples], logp.shape[-1])
                distributions = _room({i: examples[i].size for i in sorted(keep)}, logp.shape[-1])
            found[row] = values
            if row in keep:
                distributions[row][:] = logp.cpu().numpy()
    budgets = dict(spec.budgets)
    answers, prompts = looking.greedy(model, probes, spec.generate, budgets, spec.max_new_tokens, spec.total)
    sloped = {name: index[name]["answer"] for name in spec.gradients if name in index}
    passes = {"texts": len(examples), "prompts": prompts}
    if lists:
        passes["users"] = len(lists["users"])
    if sloped:
        passes["gradients"] = len(np.unique(np.concatenate(list(sloped.values()))))
    inside = interior.look(model, examples, {name: index[name] for name in spec.interior if name in index})
    if inside:
        passes["interior"] = sum(len(rows) for name, rows in inside.items() if name.endswith((".hidden", ".parting")))
    drawn = looking.sampled(model, probes, dict(spec.samples), budgets, spec.max_new_tokens, spec.seed)
    if drawn:
        passes["samples"] = sum(len(texts) for rows in drawn.values() for texts in rows)
    return Evidence(
        family=model.family,
        model=model.fingerprint(),
        probes=fingerprint,
        offsets=np.cumsum([0, *(len(values["logp"]) for values in found)]),
        tokens={name: np.concatenate([values[name] for values in found]) for name in TOKEN_FIELDS},
        index=index,
        records={name: [_plain(r) for r in records] for name, records in probes.items()},
        generations=answers,
        distributions=distributions,
        passes=passes,
        traces=_traces(model, probes, spec.traces) if spec.traces else {},
        gradients=looking.slopes(model, examples, sloped),
        interior=inside,
        samples=drawn,
        rankings=lists,
        untrained=looking.untrained(
            model, examples, {name: index[name]["answer"] for name in spec.untrained if name in index}, spec.seed
        ),
    )


def _room(sizes: Mapping[int, int], width: int) -> dict[int, np.ndarray]:
    """One block for all kept distributions: rows between the batches would keep freed memory from being used again."""
    block = np.empty((sum(sizes.values()), width), dtype=np.float32)
    ends = np.cumsum(list(sizes.values()))
    return {i: block[end - size : end] for (i, size), end in zip(sizes.items(), ends, strict=True)}


def _kept(index: Mapping[str, Mapping[str, np.ndarray]], spec: Spec, sizes: Sequence[int], width: int) -> set[int]:
    """Numbers of the texts whose distributions over `width` tokens are kept: the same for models of one tokenizer."""
    keep: set[int] = set()
    sets = [name for name in spec.distributions if name in index]
    for name in sets:
        texts = index[name]["answer"][: spec.rows]
        room = np.cumsum([sizes[i] for i in texts]) * width * 4 <= spec.memory * 2**20 / len(sets)
        keep |= {int(i) for i in texts[room]}
    return keep


def _traces(model: Model, probes: Probes, spec: Traces) -> dict[str, np.ndarray]:
    """The value vectors, where the model has any and their questions are among the probes."""
    if not isinstance(model, LanguageModel):
        raise InputError(f"Value vectors are a language model's; this is a {model.family} model.")
    if spec.questions not in probes:
        raise InputError(f"The value vectors' questions {spec.questions!r} are none of the sets {', '.join(probes)}.")
    return look(model, [model.prompt_of(record) for record in probes[spec.questions]], spec)


def _plain(record: Record) -> dict[str, Any]:
    """The part of a record that a metric may need: no arrays."""
    return {k: v for k, v in record.items() if isinstance(v, str | int | float | list)}
