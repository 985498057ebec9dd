"""A target with assistants: the released numbers, what leaves the target alone, caches, and the folder."""

import copy
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models.tiny import ARCHITECTURES, QUESTIONS, causal, language
from torch import Tensor
from transformers import DynamicCache

from lethe.errors import InputError
from lethe.models import load
from lethe.models.difference import HIDDEN, combined, first_blocks, relative_top, wrap
from lethe.models.guard import Guard
from lethe.models.language import LanguageModel
from lethe.report import write_model_card
from lethe.request import Request
from lethe.runs.unlearn import carry_out

BASE = torch.tensor([2.0, 1, 0, -3], dtype=torch.float64)
ASSISTANT = torch.tensor([3.0, 0, 0.5, 1], dtype=torch.float64)
WEIGHT = -0.8
IDS = torch.tensor([[5, 9, 70, 31, 8], [100, 3, 12, 60, 44]])
PROMPTS = ["Where was Ada born?", "And Bo?"]


# --- how logits are put together --------------------------------------------------------------------------------------


def subtracted(base: Tensor, assistant: Tensor, weight: float, top: float, hide: bool = False) -> Tensor:
    """Probabilities with ULD's formula and the pure filter."""
    kept = relative_top(base, top)
    whole = combined(base, [assistant], [weight], "add", kept)
    return (whole.masked_fill(~kept, HIDDEN) if hide else whole).softmax(-1)


def plus(base: Tensor, assistant: Tensor, weight: float, top: float, hide: bool = False) -> Tensor:
    """Wrong: the sign is lost."""
    return subtracted(base, assistant, -weight, top, hide)


def filtered_by_the_assistant(base: Tensor, assistant: Tensor, weight: float, top: float, hide: bool = False) -> Tensor:
    """Wrong: what is likely to the assistant is kept, not what is likely to the target."""
    kept = relative_top(assistant, top)
    whole = combined(base, [assistant], [weight], "add", kept)
    return (whole.masked_fill(~kept, HIDDEN) if hide else whole).softmax(-1)


def zeroed_after_the_sum(base: Tensor, assistant: Tensor, weight: float, top: float, hide: bool = False) -> Tensor:
    """Wrong: the sum is zeroed, so that a filtered token gets the logit 0 instead of the target's."""
    kept = relative_top(base, top)
    whole = (base + weight * assistant).masked_fill(~kept, 0)
    return (whole.masked_fill(~kept, HIDDEN) if hide else whole).softmax(-1)


def check_released_numbers(answer: Any) -> None:
    """The printed probabilities: no filter, filtered tokens kept, filtered tokens hidden."""
    printed = {
        (0.0, False): [0.164242, 0.666035, 0.164242, 0.005481],
        (0.1, False): [0.163146, 0.661590, 0.163146, 0.012117],
        (0.1, True): [0.165147, 0.669705, 0.165147, 0.0],
    }
    for (top, hide), values in printed.items():
        assert answer(BASE, ASSISTANT, WEIGHT, top, hide).tolist() == pytest.approx(values, abs=5.1e-7)


def test_released_numbers():
    check_released_numbers(subtracted)
    assert subtracted(BASE, ASSISTANT, WEIGHT, 0.0)[0] < BASE.softmax(-1)[0]  # what the assistant says is forgotten


@pytest.mark.parametrize("wrong", [plus, filtered_by_the_assistant, zeroed_after_the_sum], ids=lambda f: f.__name__)
def test_known_wrong_formulas_are_rejected(wrong: Any):
    with pytest.raises(AssertionError):
        check_released_numbers(wrong)


def test_a_uniform_assistant_changes_nothing_without_filter():
    """And with it only where its logits are 0: others are moved against those that the filter leaves alone."""
    for constant, weight in ((2.0, -0.8), (-5.0, -1.5), (3.0, 1.0)):
        same = subtracted(BASE, torch.full_like(BASE, constant), weight, 0.0)
        assert torch.allclose(same, BASE.softmax(-1), atol=1e-12)
    assert torch.equal(subtracted(BASE, torch.zeros_like(BASE), WEIGHT, 0.1), BASE.softmax(-1))
    gained = subtracted(BASE, torch.full_like(BASE, 2.0), WEIGHT, 0.1) - BASE.softmax(-1)
    assert gained[3].item() == pytest.approx(0.0173, abs=5e-5)


def test_relative_top_and_its_floor():
    assert relative_top(BASE, 0.0).all()
    assert relative_top(BASE, 0.1).tolist() == [True, True, True, False]
    assert relative_top(BASE, 0.1, floor=True).all()  # int(.1 * 4) = 0: the released filter is inert
    flat = torch.zeros(200)
    flat[:3] = torch.tensor([9.0, 5.0, 4.0])
    assert relative_top(flat, 0.05).sum() == 1
    assert relative_top(flat, 0.05, floor=True).sum() == 200  # its ten likeliest, and all that equal the last of them
    assert relative_top(torch.linspace(0, 500, 200), 0.05, floor=True).sum() == 10


def test_relu_lowers_only_what_rose():
    """Who's Harry Potter while decoding, with the spec's numbers."""
    base, raised = torch.tensor([2.0, 1, 0, -1]), torch.tensor([5.0, 0.5, 0.2, -1])
    everywhere = torch.ones(4, dtype=torch.bool)
    assert combined(base, [raised], [5.0], "relu", everywhere).tolist() == pytest.approx([-13, 1, -1, -1])
    assert combined(base, [raised], [1.0], "relu", everywhere).tolist() == pytest.approx([-1, 1, -0.2, -1])


# --- the model --------------------------------------------------------------------------------------------------------


@cache
def target() -> LanguageModel:
    return language()


def wrapped(**settings: Any) -> LanguageModel:
    made = target().copy()
    made.module = wrap(made.module, [causal(seed=3, num_hidden_layers=1)], **{"weights": [-0.8]} | settings)
    return made


def logits_of(model: LanguageModel) -> Tensor:
    with model.evaluating():
        return model.logits(next(model.batches(model.encode(QUESTIONS))))


def test_at_weight_0_the_target_answers():
    kept, hidden = wrapped(weights=[0.0], top=0.2), wrapped(weights=[0.0], top=0.2, filtered="hidden")
    assert torch.equal(logits_of(kept), logits_of(target()))
    assert kept.generate(PROMPTS, 8) == target().generate(PROMPTS, 8)
    filtered = logits_of(hidden) == HIDDEN
    assert filtered.any()
    assert torch.equal(logits_of(hidden)[~filtered], logits_of(target())[~filtered])
    assert not torch.equal(logits_of(wrapped()), logits_of(target()))


def test_generation_hides_what_the_filter_removes():
    """In sampling it is never drawn, at any temperature; where logits are read it keeps the target's."""
    model: Any = wrapped(weights=[0.0], top=0.5).module
    torch.manual_seed(0)
    with torch.no_grad():
        drawn = model.generate(
            IDS.repeat(40, 1), attention_mask=torch.ones(80, 5, dtype=torch.long), max_new_tokens=1, do_sample=True,
            temperature=20.0, pad_token_id=257, eos_token_id=None,
        )[:, -1]  # fmt: skip
        allowed = relative_top(model(IDS).logits[:, -1], 0.5).repeat(40, 1)
    assert not allowed.all()
    assert allowed.gather(1, drawn[:, None]).all()


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "phi", "gpt2", "gpt_neo"])
def test_every_part_reads_a_cache_of_its_own(architecture: str):
    """Step by step, with left padding and with beams, the logits are those of one pass over the whole."""
    base = causal(architecture)
    model: Any = wrap(base, [first_blocks(base, 1)], weights=[-0.8], top=0.01)
    mask = torch.tensor([[1] * 5, [0, 0, 1, 1, 1]])
    with torch.no_grad():
        out = model.generate(
            IDS, attention_mask=mask, max_new_tokens=6, do_sample=False, output_logits=True,
            return_dict_in_generate=True, pad_token_id=257, eos_token_id=None,
        )  # fmt: skip
        for row, begins in enumerate((0, 2)):
            whole = model(out.sequences[row : row + 1, begins:], decoding=True).logits[0, 4 - begins : -1]
            assert torch.allclose(torch.stack(out.logits, 1)[row], whole, atol=1e-4)
        beams = {
            use_cache: model.generate(
                IDS, attention_mask=torch.ones_like(IDS), max_new_tokens=5, num_beams=3, do_sample=False,
                pad_token_id=257, eos_token_id=None, use_cache=use_cache,
            )
            for use_cache in (True, False)
        }  # fmt: skip
    assert torch.equal(beams[True], beams[False])


def test_one_cache_for_both_would_be_seen():
    """What the released code does: the target's cache is handed to the assistant, too."""
    base = causal()
    model: Any = wrap(base, [first_blocks(base, 1)], weights=[-0.8])
    with torch.no_grad():
        own, shared = DynamicCache(), DynamicCache()
        model(IDS[:, :-1], past_key_values=own, use_cache=True)
        right = model(IDS[:, -1:], past_key_values=own, use_cache=True).logits
        for ids in (IDS[:, :-1], IDS[:, -1:]):
            parts = [part(ids, past_key_values=shared, use_cache=True).logits for part in model.parts]
        assert torch.allclose(right, model(IDS).logits[:, -1:], atol=1e-5)
        assert not torch.allclose(parts[0] - 0.8 * parts[1], right, atol=1e-2)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_folder_loads_and_answers_like_any_other(architecture: str, tmp_path: Path):
    model = language(architecture)
    model.module = wrap(model.module, [first_blocks(model.module, 1)], weights=[-0.8], top=0.1, floor=True)
    loaded = load(model.save(tmp_path / "wrapped"))
    assert isinstance(loaded, LanguageModel)
    assert loaded.behaviour() == model.behaviour()
    assert torch.equal(logits_of(loaded), logits_of(model))
    assert loaded.generate(PROMPTS, 6) == model.generate(PROMPTS, 6)
    config = json.loads((tmp_path / "wrapped" / "config.json").read_text())
    assert config["model_type"] == "lethe_difference"
    assert "auto_map" not in config  # nothing in it asks for remote code


def test_it_is_looked_at_like_any_other():
    model, bare = wrapped(), target()
    assert model.blocks() is model.inner.get_submodule("model.layers")
    batch = next(model.batches(model.encode(QUESTIONS)))
    with model.evaluating(), bare.evaluating():
        assert torch.equal(model.hidden(batch, [-1])[-1], bare.hidden(batch, [-1])[-1])
    twin = model.copy()
    assert twin.fingerprint() == model.fingerprint() != bare.fingerprint()
    next(twin.module.parameters()).data.add_(1.0)
    assert twin.fingerprint() != model.fingerprint()
    other: Any = model.copy()
    other.module.config.weights = [-2.0]
    assert other.fingerprint() == model.fingerprint()
    assert other.behaviour() != model.behaviour()  # cached evidence of the one is none of the other
    assert copy.deepcopy(model.inner.state_dict()).keys() == bare.module.state_dict().keys()


def test_first_blocks_are_the_targets_own():
    base: Any = causal()
    small: Any = first_blocks(base, 1)
    weights = base.state_dict()
    assert len(small.model.layers) == 1
    assert all(torch.equal(tensor, weights[name]) for name, tensor in small.state_dict().items())
    assert not {t.data_ptr() for t in small.parameters()} & {t.data_ptr() for t in base.parameters()}
    with torch.no_grad():
        assert torch.equal(first_blocks(base, 2)(IDS).logits, base(IDS).logits)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neo"])
def test_settings_under_names_of_their_own_are_found(architecture: str):
    """GPT-2 and GPT-Neo keep their sizes under other names, and GPT-Neo the kinds of its blocks in a list of pairs."""
    base: Any = causal(architecture)
    for count in (1, 2):
        small: Any = first_blocks(base, count)
        assert len(small.transformer.h) == small.config.num_hidden_layers == count
    with torch.no_grad():
        assert torch.equal(small(IDS).logits, base(IDS).logits)
        behind = first_blocks(base, 1)(IDS, output_hidden_states=True).hidden_states[-1]
        first = base(IDS, output_hidden_states=True).hidden_states[1]
        assert torch.equal(behind, base.transformer.ln_f(first))
    config = wrap(base, [small], weights=[-0.8]).config
    assert (config.num_hidden_layers, config.num_attention_heads, config.max_position_embeddings) == (2, 2, 128)


def test_what_cannot_be_cut_is_refused_in_one_sentence():
    uneven: Any = causal()
    uneven.model.norm.weight = torch.nn.Parameter(torch.zeros(3))
    message = r"^LlamaForCausalLM cannot be cut to its first 1 blocks \(.*size mismatch.*\); take all 2\.$"
    with pytest.raises(InputError, match=message):
        first_blocks(uneven, 1)


def test_mistakes_are_told():
    with pytest.raises(InputError, match="first 3 blocks are asked for; the model has 2"):
        first_blocks(causal(), 3)
    with pytest.raises(InputError, match=r"share is 1\.5"):
        wrap(causal(), [causal()], weights=[-1.0], top=1.5)
    for stack in (lambda: first_blocks(wrapped().module, 1), lambda: wrap(wrapped().module, [causal()], weights=[1.0])):
        with pytest.raises(InputError, match="wrapped for decoding already"):
            stack()


def test_a_saved_folder_tells_the_lines_that_load_it_in_another_process(tmp_path: Path):
    """transformers does not know the architecture until the module is imported; everything else needs no such line."""
    out = tmp_path / "made"
    request = Request(QUESTIONS[:3], QUESTIONS[3:], allow_overlap=True)
    options = {"epochs": 1, "blocks": 1, "rank": 0}
    made: Any = carry_out(target(), request, "uld", options, out, finish=write_model_card)
    lines = json.loads((out / "lethe.json").read_text())["load"]
    assert lines[0] == "import lethe.models.difference"
    card = (out / "README.md").read_text()
    shown = card.split("```python\n")[1].split("```")[0]
    assert shown.splitlines()[: len(lines)] == [line.replace("FOLDER", "path/to/this/folder") for line in lines]

    def answered(code: list[str]) -> subprocess.CompletedProcess[str]:
        asked = f"import torch; print(model(torch.tensor({IDS.tolist()})).logits.sum().item())"
        text = "\n".join([*code, asked]).replace("FOLDER", str(out))
        return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)

    with torch.no_grad():
        expected = made.module(IDS).logits.sum().item()
    assert float(answered(lines).stdout) == pytest.approx(expected, rel=1e-6)
    assert "lethe_difference" in answered(lines[1:]).stderr


def test_ordinary_and_guarded_models_tell_their_own_lines():
    plain: Any = target()
    assert not any("lethe" in line for line in plain.loading)
    plain.guard = Guard("I do not know.", (), ("q",), ())
    assert plain.loading == ("from lethe.models import load", 'model = load("FOLDER")')
