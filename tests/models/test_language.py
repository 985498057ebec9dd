"""Language models of five architectures behind one wrapper."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import normalizers
from torch import Tensor

from lethe.errors import InputError
from lethe.models import load
from lethe.models.base import IGNORED
from lethe.models.language import PROMPT, LanguageModel

from . import tiny

every_architecture = pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
EOS, PAD = 256, 257


def write(folder: Path, architecture: str = "llama", **changes: Any) -> Path:
    """A folder as transformers itself leaves it, without Lethe's help."""
    tiny.causal(architecture, **changes).save_pretrained(folder)  # pyright: ignore[reportCallIssue]
    tiny.tokenizer().save_pretrained(folder)
    return folder


def batch_of(model: LanguageModel, records: list[dict[str, Any]]):
    examples = model.encode(records)
    return model.collate(examples, range(len(examples)))


@every_architecture
def test_an_ordinary_folder_loads_in_eval_mode_and_answers_as_transformers_does(tmp_path: Path, architecture: str):
    loaded = load(write(tmp_path / architecture, architecture))
    assert isinstance(loaded, LanguageModel)
    assert not loaded.module.training
    batch = batch_of(loaded, tiny.QUESTIONS[:3])
    with torch.no_grad():
        theirs = tiny.causal(architecture)(**batch.inputs).logits
    assert torch.equal(loaded.logits(batch), theirs[:, :-1])


@every_architecture
def test_loss_is_the_sum_of_what_transformers_averages(architecture: str):
    model = tiny.language(architecture)
    batch = batch_of(model, tiny.QUESTIONS)
    labels = torch.cat([torch.full((len(batch), 1), IGNORED), batch.labels], 1)  # transformers shifts by itself
    theirs = model.module(**batch.inputs, labels=labels).loss
    ours = model.loss(batch)
    assert ours.shape == (len(tiny.QUESTIONS),)
    torch.testing.assert_close(ours.sum() / model.sizes(batch).sum(), theirs, rtol=1e-5, atol=1e-6)


@every_architecture
def test_loss_does_not_depend_on_the_batch(architecture: str):
    model = tiny.language(architecture)
    with model.evaluating():
        together = model.loss(batch_of(model, tiny.QUESTIONS))
        alone = torch.cat([model.loss(batch_of(model, [record])) for record in tiny.QUESTIONS])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)


def final(module: Any, states: Tensor) -> Tensor:
    """Logits from the last block's output, by the model's own norm and head."""
    body = module.base_model
    body = getattr(body, "decoder", body)  # OPT's
    names = ("norm", "final_layer_norm", "final_layernorm", "ln_f")
    norm = next(getattr(body, name) for name in names if hasattr(body, name))
    return module.get_output_embeddings()(norm(states))


@every_architecture
def test_hidden_states_are_those_of_the_named_block_and_line_up_with_the_labels(architecture: str):
    model = tiny.language(architecture)
    batch = batch_of(model, tiny.QUESTIONS[:4])
    with model.evaluating():
        found = model.hidden(batch, [0, -1])
        assert not any(block._forward_hooks for block in model.blocks())
        theirs = model.module(**batch.inputs, output_hidden_states=True).hidden_states
        assert set(found) == {0, -1}
        assert found[0].shape == (*batch.labels.shape, tiny.WIDTH)
        assert torch.equal(found[0], theirs[1][:, :-1])
        torch.testing.assert_close(final(model.module, found[-1]), model.logits(batch))


@every_architecture
def test_generation_is_the_argmax_token_by_token(architecture: str):
    model = tiny.language(architecture)
    prompts = [model.prompt(record["question"]) for record in tiny.QUESTIONS[:4]]
    generated = model.generate(prompts, max_new_tokens=6, batch_size=3)
    for prompt, text in zip(prompts, generated, strict=True):
        ids = model.tokenizer(prompt)["input_ids"]
        start = len(ids)
        with model.evaluating():
            while len(ids) < start + 6 and (len(ids) == start or ids[-1] != EOS):
                ids.append(int(model.module(torch.tensor([ids])).logits[0, -1].argmax()))
        assert text == str(model.tokenizer.decode(ids[start:], skip_special_tokens=True)).strip()
    assert any(generated)


def test_generation_stops_at_the_end_token_per_row():
    model = tiny.language()
    module: Any = model.module
    with torch.no_grad():  # make the end token the answer to this prompt
        state = module.model(torch.tensor([model.tokenizer("a")["input_ids"]])).last_hidden_state[0, -1]
        module.lm_head.weight[EOS] = 50 * state / state.norm()
    short, long = model.generate(["a", "b"], max_new_tokens=5)
    assert short == ""
    assert long


def test_the_folders_generation_settings_cannot_make_a_model_look_forgetful(tmp_path: Path):
    """A folder that suppresses most characters at decoding still answers with what its weights say."""
    from transformers import GenerationConfig

    folder = write(tmp_path / "m")
    plain = load(folder)
    muted = GenerationConfig(suppress_tokens=list(range(200)), repetition_penalty=9.0, min_new_tokens=4, max_length=5)
    muted.save_pretrained(folder)
    loaded = load(folder)
    assert isinstance(plain, LanguageModel)
    assert isinstance(loaded, LanguageModel)
    module: Any = loaded.module
    assert module.generation_config.repetition_penalty == 9.0
    prompts = [plain.prompt(record["question"]) for record in tiny.QUESTIONS]
    answers = plain.generate(prompts, 8)
    assert any(answers)
    assert loaded.generate(prompts, 8) == answers
    assert module.generation_config.repetition_penalty == 9.0  # a later save keeps the folder's own


def test_behaviour_covers_what_the_weights_do_not(tmp_path: Path):
    folder = write(tmp_path / "m")
    model = load(folder)
    assert isinstance(model, LanguageModel)
    assert load(model.save(tmp_path / "saved")).behaviour() == model.behaviour()
    assert load(write(tmp_path / "elsewhere")).behaviour() == model.behaviour() == model.copy().behaviour()
    chat = load(folder)
    assert isinstance(chat, LanguageModel)
    chat.tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    respelt = load(folder)
    assert isinstance(respelt, LanguageModel)
    backend: Any = getattr(respelt.tokenizer, "backend_tokenizer", None)
    backend.normalizer = normalizers.Lowercase()
    scaled = load(folder)
    config: Any = scaled.module.config
    config.rms_norm_eps = 0.5
    assert {m.fingerprint() for m in (chat, respelt, scaled)} == {model.fingerprint()}
    assert len({m.behaviour() for m in (model, chat, respelt, scaled)}) == 4


def test_only_the_answer_and_one_end_token_are_scored():
    model = tiny.language()
    record = tiny.QUESTIONS[0]
    (example,) = model.encode([record])
    ids, labels = example.inputs["input_ids"], example.inputs["labels"]
    prompt = PROMPT.format(question=record["question"])
    assert model.tokenizer.decode(ids[:-1]) == f"{prompt} {record['answer']}"
    scored = [label for label in labels if label != IGNORED]
    assert labels == [IGNORED] * (len(prompt) - 1) + scored  # one token per byte; the shift takes one off
    assert scored[-1] == EOS
    assert scored.count(EOS) == 1
    assert model.tokenizer.decode(scored[:-1]) == f" {record['answer']}"
    assert example.size == len(record["answer"]) + 2  # the space before, the end token after
    assert example.length == len(ids) == len(labels) + 1


def test_texts_are_scored_wherever_a_token_has_a_predecessor():
    (example,) = tiny.language().encode([{"id": "t", "text": "Rome."}])
    assert example.inputs["labels"] == example.inputs["input_ids"][1:]
    assert example.size == len("Rome.") - 1


def test_padding_is_masked_and_never_scored():
    model = tiny.language()
    examples = model.encode([tiny.QUESTIONS[2], tiny.QUESTIONS[1]])
    batch = model.collate(examples, [7, 3])
    short = examples[1].length
    assert batch.index.tolist() == [7, 3]
    assert batch.inputs["attention_mask"].sum(1).tolist() == [example.length for example in examples]
    assert batch.inputs["input_ids"][1, short:].eq(PAD).all()
    assert batch.labels[1, short - 1 :].eq(IGNORED).all()
    assert model.sizes(batch).tolist() == [example.size for example in examples]
    taken = batch.take([1])
    assert taken.index.tolist() == [3]
    assert torch.equal(taken.labels, batch.labels[1:])
    assert torch.equal(taken.inputs["input_ids"], batch.inputs["input_ids"][1:])


def test_a_pad_token_equal_to_the_end_token_changes_nothing():
    """Masks come from lengths: the end token of an answer is scored even where it is also the padding."""
    usual, shared = tiny.language(), tiny.tokenizer()
    shared.pad_token = shared.eos_token
    same = LanguageModel(usual.module, shared)
    assert same.pad == same.eos == EOS
    first, second = batch_of(usual, tiny.QUESTIONS), batch_of(same, tiny.QUESTIONS)
    assert torch.equal(first.labels, second.labels)
    torch.testing.assert_close(usual.loss(first), same.loss(second))
    assert usual.generate(["a", "bcd"], 4) == same.generate(["a", "bcd"], 4)


def test_a_chat_template_is_used_where_there_is_one():
    model = tiny.language()
    model.tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.content }}]{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    )
    (example,) = model.encode([{"id": "c", "question": "Who?", "answer": "Me."}])
    assert model.tokenizer.decode(example.inputs["input_ids"][:-1]) == "[Who?]>Me."
    assert example.size == len("Me.") + 1


@every_architecture
def test_what_is_saved_is_an_ordinary_folder_with_the_same_weights(tmp_path: Path, architecture: str):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = tiny.language(architecture)
    folder = model.save(tmp_path / "saved")
    assert (folder / "model.safetensors").is_file()
    assert not list(folder.glob("*.bin"))
    assert load(folder).fingerprint() == model.fingerprint()
    theirs = AutoModelForCausalLM.from_pretrained(folder)
    batch = batch_of(model, tiny.QUESTIONS[:2])
    assert torch.equal(theirs(**batch.inputs).logits, model.module(**batch.inputs).logits)
    assert AutoTokenizer.from_pretrained(folder)("Rome")["input_ids"] == model.tokenizer("Rome")["input_ids"]


@every_architecture
def test_fresh_draws_every_random_weight_anew(architecture: str):
    model = tiny.language(architecture)
    state = torch.random.get_rng_state()
    fresh, again, other = model.fresh(1), model.fresh(1), model.fresh(2)
    assert torch.equal(state, torch.random.get_rng_state())
    assert fresh.fingerprint() == again.fingerprint() != other.fingerprint()
    assert not fresh.module.training
    kept = [
        name
        for (name, new), old in zip(fresh.module.named_parameters(), model.module.parameters(), strict=True)
        if old.unique().numel() > 1 and torch.equal(new, old)  # constants (norms, biases) are not drawn
    ]
    assert not kept


def test_a_copy_shares_no_weight():
    model = tiny.language()
    twin = model.copy()
    before = model.fingerprint()
    assert twin.fingerprint() == before
    with torch.no_grad():
        for parameter in twin.module.parameters():
            parameter.add_(1)
    assert model.fingerprint() == before != twin.fingerprint()


@pytest.mark.parametrize("record", [{"question": "x" * 40, "answer": "y"}, {"question": "x", "answer": "y" * 40}])
def test_a_question_and_answer_longer_than_the_context_are_refused(record: dict[str, Any]):
    tokens = len(PROMPT.format(question=record["question"]) + " " + record["answer"]) + 1  # bytes, and the end token
    with pytest.raises(InputError, match=rf"record 'long' has {tokens} tokens.*context of 32 tokens; split it"):
        tiny.language(max_position_embeddings=32).encode([{"id": "long", **record}])


def test_no_token_within_the_context_is_left_out_and_none_beyond_it_passes():
    model = tiny.language(max_position_embeddings=600)
    (example,) = model.encode([{"id": "whole", "text": "y" * 600}])
    assert example.length == 600
    with pytest.raises(InputError, match=r"record 'long' has 601 tokens.*context of 600 tokens; split it into pieces"):
        model.encode([{"id": "long", "text": "y" * 601}])
    with pytest.raises(InputError, match=r"record 'one' has no token"):
        model.encode([{"id": "one", "text": "y"}])


def test_a_model_that_states_no_context_takes_2048_tokens():
    from transformers import MambaConfig, MambaForCausalLM

    module = MambaForCausalLM(MambaConfig(vocab_size=258, hidden_size=16, num_hidden_layers=1, state_size=4))
    assert LanguageModel(module, tiny.tokenizer()).max_length == 2048
    assert LanguageModel(module, tiny.tokenizer(), max_length=64).max_length == 64


@pytest.mark.parametrize(
    ("record", "message"),
    [({"id": "r", "question": "Who?"}, "has fields"), ({"id": "r", "question": "Who?", "answer": " "}, "empty")],
)
def test_records_that_do_not_fit_are_refused(record: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        tiny.language().encode([record])


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path: Path):
    folder = write(tmp_path / "m")
    larger = tiny.tokenizer()
    larger.add_tokens(["Timbuktu", "Antananarivo"])
    larger.save_pretrained(folder)
    with pytest.raises(InputError, match="260 tokens but the model embeds only 258"):
        load(folder)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path):
    folder = write(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"model\.norm\.weight.*NaN"):
        load(folder)


def test_pickled_weights_are_refused(tmp_path: Path):
    folder = write(tmp_path / "m")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"pickled weights \(pytorch_model\.bin\)"):
        load(folder)


def test_a_truncated_weight_file_is_refused(tmp_path: Path):
    folder = write(tmp_path / "m")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a loadable causal language model"):
        load(folder)


def test_weights_of_another_shape_are_refused(tmp_path: Path):
    folder = write(tmp_path / "m")
    resized = load_file(folder / "model.safetensors") | {"lm_head.weight": torch.zeros(258, 8)}
    save_file(resized, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="not a loadable causal language model"):
        load(folder)


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path: Path):
    """Transformers would complete it at random, with a mere warning."""
    folder = write(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 1 of the model's tensors \(lm_head\.weight\)"):
        load(folder)
