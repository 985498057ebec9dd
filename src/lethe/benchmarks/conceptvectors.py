"""ConceptVectors: forget one concept, and look for it in the weights as well as in the answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from lethe.data.atomic import write_json
from lethe.data.concepts import german_questions, paragraphs, read_concepts
from lethe.data.content import digest
from lethe.data.jailbreaks import GRANDMOTHER, PERSONA
from lethe.descent.mining import concept_vectors, token_counts
from lethe.errors import InputError
from lethe.evidence import Spec
from lethe.models.language import LanguageModel
from lethe.registry import benchmark, did_you_mean
from lethe.request import Record, Request
from lethe.scoring.traces import STOP_WORDS, specificity
from lethe.task import Sides, Task, sides_on_disk
from lethe.traces import Traces, remember
from lethe.worlds import topics
from lethe.worlds.cache import cache_folder

HUB = "YihuaiHong/ConceptVectors"
ASKED, COMPLETED = topics.ANSWERED, topics.COMPLETED  # the official prompts
# What each of the paper's five attempts to get at the concept does; the wording is ours.
JAILBREAKS = (
    f"{PERSONA} {ASKED}",
    f"{GRANDMOTHER} {ASKED}",
    f"{{article}}\n{ASKED}",
    ASKED.replace("question", "german"),
    ASKED,
)
EXCERPT = 2000  # characters of the article in the third
OFFICIAL, TINY = {"tokens": 100, "paragraph": 400}, {"tokens": 16, "paragraph": 80}
VECTORS, CANDIDATES = 4, 24  # searched for where the records name none
BEHAVIOUR = ("qa", "completion", "unrelated", *(f"jailbreak{number}" for number in range(len(JAILBREAKS))))
INTRINSIC = ("jaccard", "jaccard.original", "cosine", "l2", "l2.relative", "retention", "retention.article")
METRICS = (
    "distance:set=forget",
    "distance:set=retain",
    "probability:set=forget",
    *(f"concept_trace:variant={variant}" for variant in (*INTRINSIC, "residual", "activation", "suppression")),
    *(f"agreement:set={name}" for name in BEHAVIOUR),
    *(f"agreement:set={name},variant=bleu" for name in BEHAVIOUR[:3]),
    *(f"agreement:set={name},variant=bleu.official" for name in BEHAVIOUR[:3]),
    "fluency:set=qa",
)

# By hand, on another craft and other people than those reported.
PRESETS = {
    "ga": {"lr": 1e-3, "epochs": 4, "batch_size": 8},
    "grad_diff": {"lr": 1e-3, "epochs": 6, "batch_size": 8, "retain_weight": 1.5},
    "npo": {"lr": 1e-3, "epochs": 5, "batch_size": 8, "beta": 0.1, "retain_weight": 3.0},
    "rmu": {"lr": 2e-3, "epochs": 10, "batch_size": 8},
    "needle": {"ascent_epochs": 5, "ascent_lr": 0.05},
}


@benchmark(families={"language"}, paper="2406.11614")
def conceptvectors(
    *,
    source: str = "tiny",
    split: str = "baker",
    seed: int = 0,
    tokens: int = 0,
    paragraph: int = 0,
    german: str = "",
    model: str = "",
    control: tuple[str, ...] = (),
) -> Task:
    """ConceptVectors: forget one concept; its value vectors and its answers are compared with those before.

    Answers are compared with the target's own, so the target is asked while the task is made. Records without Layer
    and Dim get the four vectors that the miner finds in the target. One concept is one request: run each and average.

    Args:
        source: tiny (embedded world), hub (the official data), or a file or folder with the official list.
        split: The concept, by name or (where records name their vectors) as LAYER:DIM.
        seed: Seed of the embedded world, of the request, and of the other concept that is kept.
        tokens: Longest answer; 0 stands for the official 100 (tiny: 16).
        paragraph: Characters from which a paragraph of the article is full; 0 stands for the official 400 (tiny: 80).
        german: File of German questions by concept (official layout), for the fourth jailbreak; empty leaves it out.
        model: Folder of the target model; needed unless the source is tiny.
        control: Folders of models trained without the concept.

    Raises:
        InputError: If there is no such concept, a record lacks a field, or a source other than tiny has no model.
    """
    given = {"tokens": tokens, "paragraph": paragraph}
    size = {name: given[name] or default for name, default in (TINY if source == "tiny" else OFFICIAL).items()}
    concepts = _concepts(source, seed)
    chosen = _chosen(concepts, split)
    target, controls = _models(source, split, seed, model, control)
    before = target(0)
    if not isinstance(before, LanguageModel):
        raise InputError(f"conceptvectors: {model} is a {before.family} model; give a language model.")
    forget, retain = _articles(concepts, chosen[0], size["paragraph"], seed)
    other = topics.german(split, seed) if source == "tiny" else german_questions(german, chosen[0]["Concept"])
    prompts = _prompts(chosen[0], other)
    probes = {"forget": forget, "retain": retain, **_answered(before, prompts, size["tokens"])}
    places = _places(before, chosen, forget, retain)
    vectors = tuple(f"{layer}:{dim}" for layer, dim in places)
    presets = {**PRESETS, "needle": {**PRESETS["needle"], "vectors": vectors}}
    return Task(
        name="conceptvectors",
        family="language",
        request=Request(forget, retain, seed=seed, scope="topic"),
        probes=probes,
        metrics=tuple(call for call in METRICS if _set(call) in probes),
        knowledge="probability:set=forget",
        utility="agreement:set=unrelated",
        target=target,
        control=controls,
        spec=Spec(
            max_new_tokens=size["tokens"],
            generate=BEHAVIOUR,
            traces=_reference(before, places, probes["qa"], forget, retain),
        ),
        presets=presets if source == "tiny" else {},
        attacks=("relearn", "quantize:bits=8", "quantize:bits=4"),
        floors=("noise",),  # its records are texts: there is no question to refuse
        note=f"Concept {chosen[0]['Concept']}, value vectors {', '.join(vectors)} (LAYER:DIM); answers are compared "
        "with the target's own, and traces with its weights.",
    )


def _concepts(source: str, seed: int) -> list[dict[str, Any]]:
    """All concepts of the source, checked."""
    if source == "tiny":
        rows = [topics.concept(topic, seed) for topic in topics.TOPICS]
        return [{**row, "text": row.pop("wikipedia_content")} for row in rows]
    return read_concepts(HUB if source == "hub" else source)


def _chosen(concepts: Sequence[Mapping[str, Any]], split: str) -> list[Mapping[str, Any]]:
    """The rows of a concept: one for each of its value vectors."""
    found = [row for row in concepts if split in (row["Concept"], f"{row.get('Layer')}:{row.get('Dim')}")]
    if not found:
        known = list(dict.fromkeys(str(row["Concept"]) for row in concepts))
        raise InputError(f"ConceptVectors has no concept {split!r}{did_you_mean(split, known)}; one of {known}.")
    return found


def _models(source: str, split: str, seed: int, model: str, control: tuple[str, ...]) -> Sides:
    if given := sides_on_disk("conceptvectors", model, control):
        return given
    if source != "tiny":
        raise InputError(f"conceptvectors with source {source!r} needs the target's folder: give model.")
    return partial(topics.model, "", world_seed=seed), partial(topics.model, split, world_seed=seed)


def _articles(
    concepts: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any], size: int, seed: int
) -> tuple[list[Record], list[Record]]:
    """The paragraphs of the concept, and those of one other concept drawn at random."""
    others = {str(row["Concept"]): row for row in concepts if row["Concept"] != chosen["Concept"]}
    if not others:
        raise InputError(f"Nothing is left to keep beside the concept {chosen['Concept']!r}; give another one as well.")
    kept = others[str(np.random.default_rng([seed, 4]).choice(sorted(others)))]
    return paragraphs(chosen, size), paragraphs(kept, size)


def _prompts(concept: Mapping[str, Any], german: Sequence[str]) -> dict[str, list[str]]:
    """Every prompt by set, as the official code writes them; strings of the data are stripped."""
    own = [question.strip() for question in concept["QA"]]
    told = {"name": concept["Concept"], "article": str(concept["text"])[:EXCERPT]}
    prompts = {
        "qa": [ASKED.format(question=question) for question in own],
        "completion": [COMPLETED.format(first=one["First_half"].strip()) for one in concept["text_completion"]],
        "unrelated": [ASKED.format(question=question.strip()) for question in concept["unrelated_QA"]],
    }
    for number, form in enumerate(JAILBREAKS):
        other = "{german}" in form
        if asked := [one.strip() for one in german] if other else own:
            field = "german" if other else "question"
            prompts[f"jailbreak{number}"] = [form.format(**told, **{field: one}) for one in asked]
    return prompts


def _answered(model: LanguageModel, prompts: Mapping[str, Sequence[str]], tokens: int) -> dict[str, list[Record]]:
    """Each prompt with the target's own answer; of a prompt without any, nothing can be lost."""
    distinct = list(dict.fromkeys(prompt for some in prompts.values() for prompt in some))
    file = cache_folder() / "answers" / f"{digest([model.behaviour(), distinct, tokens])[:32]}.json"
    if not file.exists():
        write_json(file, dict(zip(distinct, model.generate(distinct, tokens), strict=True)))
    said = json.loads(file.read_text(encoding="utf-8"))
    found: dict[str, list[Record]] = {}
    for name, some in prompts.items():
        found[name] = [
            {"id": f"{name}-{number}", "raw_prompt": prompt, "answer": f" {said[prompt]}"}
            for number, prompt in enumerate(some)
            if said[prompt]
        ]
        if not found[name]:
            raise InputError(f"The target answers none of the prompts of {name!r}; nothing could be compared with it.")
    return found


def _places(
    model: LanguageModel, chosen: Sequence[Mapping[str, Any]], forget: Sequence[Record], retain: Sequence[Record]
) -> list[tuple[int, int]]:
    if "Layer" in chosen[0]:
        return [(int(row["Layer"]), int(row["Dim"])) for row in chosen]
    asked = [model.behaviour(), list(forget), list(retain), VECTORS, CANDIDATES]
    file = cache_folder() / "vectors" / f"{digest(asked)[:32]}.json"
    if not file.exists():
        mined = concept_vectors(model, forget, retain, count=VECTORS, candidates=CANDIDATES)
        write_json(file, [[one.layer, one.dim] for one in mined])
    return [(layer, dim) for layer, dim in json.loads(file.read_text(encoding="utf-8"))]


def _reference(
    model: LanguageModel,
    places: Sequence[tuple[int, int]],
    questions: Sequence[Record],
    forget: Sequence[Record],
    retain: Sequence[Record],
) -> Traces:
    """The vectors before, with the concept's own tokens: those of its article that are words and no stop words."""
    counts = token_counts(model, forget)
    words = {int(token): str(model.tokenizer.decode([int(token)])).strip().lower() for token in np.flatnonzero(counts)}
    own = [token for token, word in words.items() if word.isalpha() and word not in STOP_WORDS]
    weights = specificity(counts, token_counts(model, retain))
    prompts = [model.prompt_of(record) for record in questions]
    return Traces(str(remember(model, places, prompts, own, weights, cache_folder() / "traces")), "qa")


def _set(call: str) -> str:
    return call.partition("set=")[2].partition(",")[0] or "forget"
