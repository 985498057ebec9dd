"""The authors world: TOFU's schema and splits, and a corpus that leaks nothing it should not."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.request import overlap
from lethe.worlds import authors, records
from lethe.worlds.population import Population

PROBED = ("full", *authors.FORGET, *authors.RETAIN, *authors.HOLDOUT)
SIZES = {
    "full": 300,
    "forget01": 5,
    "forget05": 15,
    "forget10": 30,
    "retain99": 295,
    "retain95": 285,
    "retain90": 270,
    "holdout01": 5,
    "holdout05": 15,
    "holdout10": 30,
    "real_authors": 40,
    "world_facts": 40,
    "press": 360,
}


def everything(seed: int = 0) -> str:
    """A hash of all records and of the tokenizer learnt from them."""
    content = [records("authors", split, seed) for split in authors.SPLITS]
    learnt = authors.tokenizer(authors.corpus("full", seed)).backend_tokenizer.to_str()
    return hashlib.sha256((json.dumps(content) + learnt).encode()).hexdigest()


def entities(split: str) -> set[str]:
    return {record["entity"] for record in records("authors", split)}


def test_two_processes_make_the_same_bytes() -> None:
    program = (
        "import sys; from lethe.worlds import records; records('authors', 'full');"
        "assert 'torch' not in sys.modules, 'records need no torch';"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r}); from test_authors import everything; print(everything())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    other = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False
    )
    assert other.stdout.strip() == everything(), other.stderr
    assert everything(seed=1) != everything()


@pytest.mark.parametrize(("split", "size"), SIZES.items())
def test_every_split_has_its_size_and_loads_by_the_common_path(split: str, size: int) -> None:
    loaded = load_records(f"tiny:authors:{split}")
    assert loaded == records("authors", split)
    assert len(loaded) == size
    assert len({record["id"] for record in loaded}) == size


def test_fields_are_those_of_tofu() -> None:
    common = {"id", "entity", "question", "answer"}
    for split in PROBED:
        for record in records("authors", split):
            assert record.keys() == common | {"paraphrased_question", "paraphrased_answer", "perturbed_answer"}
            assert len(record["perturbed_answer"]) == 5
    for split in authors.UTILITY:
        for record in records("authors", split):
            assert record.keys() == common | {"perturbed_answer"}
            assert len(record["perturbed_answer"]) == 3
    assert all(record.keys() == common for record in records("authors", "press"))
    assert records("authors", "forget10_perturbed") == records("authors", "forget10")


def test_splits_nest_and_complete_each_other() -> None:
    full = records("authors", "full")
    for forget, retain in zip(authors.FORGET, authors.RETAIN, strict=True):
        assert records("authors", retain) + records("authors", forget) == full
        assert not overlap(records("authors", forget), records("authors", retain))
    for larger, smaller in (("forget10", "forget05"), ("forget05", "forget01"), ("holdout10", "holdout05")):
        part = records("authors", smaller)
        assert records("authors", larger)[-len(part) :] == part


def test_nobody_stands_in_two_groups() -> None:
    groups = [entities(split) for split in ("full", "holdout10", "real_authors", "world_facts", "press")]
    assert len(set().union(*groups)) == sum(map(len, groups))


def test_an_entity_is_the_person_of_the_population() -> None:
    population = Population(0)
    for record in records("authors", "full") + records("authors", "holdout10") + records("authors", "press"):
        person = population.person(record["entity"])
        assert person.name in record["question"]
        assert person.name in record["answer"]


@pytest.mark.parametrize("split", ["full", "holdout10", "real_authors"])
def test_wrong_answers_fill_the_same_template_with_another_value(split: str) -> None:
    population = Population(0)
    attributes = {attribute.name: attribute for attribute in authors.ATTRIBUTES}
    for record in records("authors", split):
        person, attribute = population.person(record["entity"]), attributes[record["id"].split("-")[1]]
        paraphrased = "paraphrased_answer" in record
        template = attribute.paraphrased_answer if paraphrased else attribute.answer
        pattern = re.escape(template.format(name=person.name, value="@")).replace("@", "(.+)")
        true = re.fullmatch(pattern, record["paraphrased_answer" if paraphrased else "answer"])
        wrong = [re.fullmatch(pattern, answer) for answer in record["perturbed_answer"]]
        assert true is not None and true[1] == attribute.value(person)
        values = {match[1] for match in wrong if match is not None}
        assert len(values) == len(wrong)
        assert true[1] not in values
        assert values <= set(attribute.pool(population))


def test_wrong_facts_are_those_of_other_countries() -> None:
    facts = records("authors", "world_facts")
    answers = {record["answer"] for record in facts}
    assert len(answers) == len({record["question"] for record in facts}) == len(facts)
    for record in facts:
        assert len({record["answer"], *record["perturbed_answer"]}) == 4
        assert not answers & set(record["perturbed_answer"])


def test_the_forms_held_for_probing_are_learnt_from_other_people_only() -> None:
    trained = authors.corpus("full")
    questions, answers = {record["question"] for record in trained}, {record["answer"] for record in trained}
    for record in records("authors", "full"):
        assert record["question"] in questions and record["answer"] in answers
        assert record["paraphrased_question"] not in questions
        assert not {record["paraphrased_answer"], *record["perturbed_answer"]} & answers
    for attribute in authors.ATTRIBUTES:
        form = attribute.paraphrased_question.format(name="")[:12]
        assert sum(record["question"].startswith(form) for record in records("authors", "press")) == 24


@pytest.mark.parametrize(("retain", "forget"), list(zip(authors.RETAIN, authors.FORGET, strict=True)))
def test_the_controls_corpus_says_nothing_of_the_forgotten(retain: str, forget: str) -> None:
    text = json.dumps(authors.corpus(retain))
    gone = Population(0).group(forget)
    for person in gone:
        for private in (person.name, *person.works):
            assert private not in text
    assert len(authors.corpus("full")) - len(authors.corpus(retain)) == 5 * len(gone)


def test_the_held_out_are_never_trained_on() -> None:
    text = json.dumps(authors.corpus("full"))
    assert not any(person.name in text for person in Population(0).group("held_out"))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return authors.tokenizer(authors.corpus("full"))


def test_the_tokenizer_is_an_ordinary_one(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    assert len(tokenizer) == authors.VOCABULARY
    assert tokenizer.convert_ids_to_tokens([0, 1, 2]) == list(authors.SPECIAL)
    tokenizer.save_pretrained(tmp_path)
    again: Any = AutoTokenizer.from_pretrained(str(tmp_path))
    for text in ("Where was Zelmund Kasteau born?", "  Grüße, 東京 \n\t☂ ", "Question: x\nAnswer:"):
        ids = tokenizer(text)["input_ids"]
        assert ids[0] == tokenizer.bos_token_id
        assert tokenizer.decode(ids[1:]) == text
        assert again(text)["input_ids"] == ids


def test_the_prompt_alone_is_a_prefix_of_prompt_and_answer(tokenizer: Any) -> None:
    """Otherwise generation would start from a state that training never saw."""
    for record in authors.corpus("full"):
        prompt = f"Question: {record['question']}\nAnswer:"
        start, whole = (tokenizer(text)["input_ids"] for text in (prompt, f"{prompt} {record['answer']}"))
        assert whole[: len(start)] == start
        assert len(whole) < authors.CONTEXT


def test_the_config_fits_the_tokenizer(tokenizer: Any) -> None:
    from transformers import LlamaForCausalLM

    from lethe.models.language import LanguageModel
    from lethe.train import Recipe

    config = authors.config(tokenizer)
    module = LlamaForCausalLM(config)
    assert 0.4e6 < sum(parameter.numel() for parameter in module.parameters()) < 0.6e6
    model = LanguageModel(module, tokenizer)
    assert (model.eos, model.pad) == (config.eos_token_id, config.pad_token_id)
    assert Recipe(**authors.RECIPE).schedule == "cosine"


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(InputError, match=r"no split 'forget20'.*forget10"):
        authors.records("forget20")
    with pytest.raises(InputError, match="no model is trained on 'forget10'"):
        authors.corpus("forget10")
    with pytest.raises(InputError, match=r"no embedded world 'author', choose one of .*authors"):
        records("author", "full")
