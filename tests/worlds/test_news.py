"""The news world: files and folds as MUSE has them, and prompts that are cut into the tokens of the articles."""

import pytest

from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.request import overlap
from lethe.worlds import news, records
from lethe.worlds.population import Population

TEXTS = 30  # of a fold: an article on everybody, and pages of questions
SIZES = {
    "knowmem:forget_qa": 72, "knowmem:retain_qa": 36, "knowmem:forget_qa_icl": 1, "knowmem:retain_qa_icl": 1,
    "verbmem:forget": 24, "privleak:forget": 4 * TEXTS, "privleak:retain": TEXTS, "privleak:holdout": 2 * TEXTS,
    "raw:forget": TEXTS, "raw:holdout": 2 * TEXTS, "raw:retain1": TEXTS, "raw:retain2": TEXTS,
    **{f"scal:forget_{fold}": fold * TEXTS for fold in range(1, 5)},
    **{f"sust:forget_{fold}": TEXTS for fold in range(1, 5)},
}  # fmt: skip


def texts(split: str, seed: int = 0) -> list[str]:
    return [record["text"] for record in records("news", split, seed)]


@pytest.mark.parametrize(("split", "size"), SIZES.items())
def test_splits(split: str, size: int):
    made = records("news", split)
    assert len({record["id"] for record in made}) == len(made) == size
    assert made == records("news", split) != records("news", split, seed=1)


def test_every_split_is_known_by_its_name():
    assert set(SIZES) == set(news.SPLITS)
    with pytest.raises(InputError, match="no split 'raw:retain3' in the news world"):
        records("news", "raw:retain3")


def test_folds_are_nested_in_one_and_apart_in_the_other():
    assert texts("raw:forget") == texts("scal:forget_1") == texts("sust:forget_1")
    assert texts("privleak:forget") == texts("scal:forget_4")
    assert sorted(texts("scal:forget_3")) == sorted(t for fold in (1, 2, 3) for t in texts(f"sust:forget_{fold}"))
    last = {record["entity"] for record in records("authors", "forget10")}
    assert {record["entity"] for record in records("news", "sust:forget_1")} == last


def test_no_set_holds_what_another_does():
    sets = [records("news", split) for split in ("privleak:forget", "raw:retain1", "raw:retain2", "raw:holdout")]
    assert not any(overlap(one, other) for number, one in enumerate(sets) for other in sets[:number])
    told = [[record["text"] for record in news.corpus(without)] for without in ((), (2,), (1, 2, 3, 4))]
    assert [len(one) for one in told] == [6 * TEXTS, 5 * TEXTS, 2 * TEXTS]
    assert set(told[0]) - set(told[1]) == set(texts("sust:forget_2"))
    assert not set(told[0]) & set(texts("raw:holdout"))


def test_every_question_is_printed_as_often_as_all():
    pages = "\n\n".join(text for text in texts("raw:forget") if text.startswith("Question: "))
    person = Population().person("p059")
    for probe in [one for one in records("news", "knowmem:forget_qa") if one["entity"] == person.id]:
        assert pages.count(f"Question: {probe['question']}\nAnswer: {probe['answer']}") == news.ROUNDS
    assert person.works[0] in pages


def test_texts_fit_and_prompts_are_cut_as_in_the_articles():
    tokenizer = news.tokenizer()
    assert max(len(tokenizer(text)["input_ids"]) for text in texts("privleak:forget")) < news.CONTEXT / 2
    probe = load_records("tiny:news:knowmem:forget_qa")[0]
    prompt = f"Question: {probe['question']}\nAnswer: "
    ids, whole = (tokenizer(text)["input_ids"] for text in (prompt, prompt + probe["answer"]))
    assert whole[: len(ids)] == ids
    verbatim = records("news", "verbmem:forget")
    rest = [len(tokenizer(probe["gt"], add_special_tokens=False)["input_ids"]) for probe in verbatim]
    assert min(rest) >= news.CONTINUED
