"""The inside of a model as it is observed: the lens ends in the model's own softmax, and nothing depends on a batch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tests.models import tiny
from torch import Tensor, nn

from lethe.errors import InputError
from lethe.evidence import Evidence, Spec, observe
from lethe.interior import read
from lethe.models.classifier import Classifier
from lethe.models.difference import wrap
from lethe.models.language import LanguageModel
from lethe.models.steered import Added, steered
from lethe.scoring.probing import candidates_hit
from lethe.worlds.toys import Facts

SPEC = Spec(generate=(), distributions=("forget",), interior=("forget",))
OTHERS = ["Rome", "Ulm", "Timbuktu", "Oslo"]
PROBES = {
    "forget": [
        {**record, "perturbed_answer": [f"{record['id']} was born in {place}." for place in OTHERS]}
        for record in tiny.QUESTIONS[4:9]
    ]
}
# What scales or caps its logits behind the output embedding, as its configuration says.
SCALED: dict[str, tuple[str, dict[str, Any]]] = {
    "cohere": ("CohereConfig", {"logit_scale": 0.25}),
    "granite": ("GraniteConfig", {"logits_scaling": 4.0}),
    "gemma2": ("Gemma2Config", {"num_key_value_heads": 1, "head_dim": 8, "final_logit_softcapping": 3.0}),
}


def model_of(architecture: str) -> LanguageModel:
    if architecture in tiny.ARCHITECTURES:
        model = tiny.language(architecture)
    else:
        name, own = SCALED[architecture]
        ids = {"vocab_size": 258, "eos_token_id": 256, "pad_token_id": 257, "bos_token_id": None}
        config = getattr(transformers, name)(**ids, initializer_range=0.2, **{**tiny.SIZES, **own})
        make = transformers.AutoModelForCausalLM.from_config
        model = LanguageModel(tiny.drawn(lambda: make(config)).eval(), tiny.tokenizer())
    return uneven(model)


def uneven(model: LanguageModel) -> LanguageModel:
    """Norms with weights unlike 1: through those of a fresh model one can go twice and see no difference."""
    drawn = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.module.named_parameters():
            if weight.ndim == 1 and "bias" not in name:
                weight.copy_(torch.rand(weight.shape, generator=drawn) + 0.5)
    return model


@pytest.mark.parametrize("architecture", [*tiny.ARCHITECTURES, *SCALED])
def test_the_last_layer_of_the_lens_is_the_models_own_softmax(architecture: str):
    seen = observe(model_of(architecture), PROBES, SPEC)
    own = np.array([logp[0] for logp in seen.per_token("forget")])
    np.testing.assert_allclose(np.exp(seen.inside("forget", "first_logp")[:, -1]), np.exp(own), atol=1e-6)
    np.testing.assert_allclose(seen.inside("forget", "logp")[:, -1], -seen.nll("forget"), rtol=1e-5)
    first = [ranks[0] for ranks in seen.per_token("forget", what="rank")]
    np.testing.assert_array_equal(seen.inside("forget", "first_rank")[:, -1], first)
    rank = np.array([(1 / (1 + ranks.astype(float))).mean() for ranks in seen.per_token("forget", what="rank")])
    np.testing.assert_allclose(seen.inside("forget", "reciprocal_rank")[:, -1], rank, rtol=1e-5)


def test_every_layer_is_read_through_the_final_norm_once():
    """Against the definition, written out for one architecture: head(norm(h)) below, head(h) at the end."""
    model = uneven(tiny.language("llama"))
    seen = observe(model, PROBES, SPEC)
    module: Any = model.module
    for row, record in enumerate(PROBES["forget"]):
        (example,) = model.encode([record])
        place = next(t for t, label in enumerate(example.inputs["labels"]) if label >= 0)
        ids = torch.tensor([example.inputs["input_ids"]])
        with model.evaluating():
            states = [state[0, place] for state in module(ids, output_hidden_states=True).hidden_states]
            scores = [module.lm_head(module.model.norm(state)) for state in states[:-1]] + [module.lm_head(states[-1])]
        expected = [scores[layer].log_softmax(-1)[example.inputs["labels"][place]].item() for layer in range(3)]
        np.testing.assert_allclose(seen.inside("forget", "first_logp")[row], expected, atol=1e-5)
        np.testing.assert_allclose(seen.inside("forget")[row], torch.stack(states), atol=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "mixtral"])
def test_padding_changes_nothing(architecture: str):
    """A record alone, and one among records of other lengths: questions from 3 words to 30."""
    model = tiny.language(architecture)
    long = [{"id": "long", "question": "Where, " * 9 + "was Bo born?", "answer": "Bo was born in Ulm, long ago."}]
    mixed = observe(model, {"forget": [*tiny.QUESTIONS, *long]}, SPEC)
    for row in (0, len(tiny.QUESTIONS)):
        alone = observe(model, {"forget": [[*tiny.QUESTIONS, *long][row]]}, SPEC)
        for name in ("hidden", "logp", "first_logp", "reciprocal_rank", "first_rank"):
            np.testing.assert_allclose(mixed.inside("forget", name)[row], alone.inside("forget", name)[0], atol=2e-5)


def test_states_are_taken_where_right_and_wrong_answers_part():
    """All answers begin alike: what stands there is what was read so far, and not a letter of the place."""
    model = tiny.language()
    seen = observe(model, PROBES, SPEC)
    module: Any = model.module
    for row, record in enumerate(PROBES["forget"]):
        ids = torch.tensor([model.tokenizer(f"{model.prompt_of(record)} {record['id']} was born in ")["input_ids"]])
        with model.evaluating():
            states = module(ids, output_hidden_states=True).hidden_states
        expected = torch.stack([state[0, -1] for state in states])
        np.testing.assert_allclose(seen.inside("forget", "parting")[row], expected, atol=1e-5)


# The case of the specification: four layers over a vocabulary of five, the answer is token 1.
ROWS = torch.tensor(
    [[0.10, 0.20, 0.30, 0.25, 0.15], [0.05, 0.50, 0.20, 0.15, 0.10], [0.02, 0.70, 0.10, 0.10, 0.08],
     [0.60, 0.05, 0.15, 0.12, 0.08]]
)  # fmt: skip


def by_hand() -> Mapping[str, np.ndarray]:
    def as_they_are(state: Tensor, last: bool) -> Tensor:
        return state.log()

    return read(as_they_are, [row[None, None] for row in ROWS], torch.tensor([[1]]), torch.tensor([0]))


def test_candidates_by_hand():
    """HP, PD and PD^2 of arXiv 2505.01456 at k = 1, section 8 of the notes on it."""
    seen = by_hand()
    assert seen["first_rank"].tolist() == [[2, 0, 0, 4]]
    assert candidates_hit(seen["first_rank"], 1, 20) == [1]
    assert candidates_hit(seen["first_rank"][:, -1:], 1, 20) == [0]  # an edit of the last layer alone passes that
    assert seen["rise"][0, :, 0].tolist() == [0, 0, 4]
    assert seen["rise"][0, 2, 1] == 0  # it falls most between the last two layers
    assert candidates_hit(seen["rise"][..., 0], 1, 20) == [1]
    assert candidates_hit(seen["rise"][:, 2:, 0], 1, 20) == [0]
    assert candidates_hit(seen["rise"][:, 2:].reshape(1, -1), 1, 20) == [1]
    assert seen["bend"][0].tolist() == [[4, 0], [4, 0]]
    assert candidates_hit(seen["bend"][..., 0], 1, 20) == [0]
    assert candidates_hit(seen["bend"].reshape(1, -1), 1, 20) == [1]
    np.testing.assert_allclose(np.exp(seen["first_logp"]), [ROWS[:, 1].tolist()], rtol=1e-6)


def test_what_was_observed_comes_back_from_the_cache(tmp_path: Path):
    model = tiny.language()
    spec = Spec(max_new_tokens=4, interior=("forget",), samples=(("forget", 3),), seed=5)
    first = observe(model, PROBES, spec, cache=tmp_path)
    again = Evidence.load(next(tmp_path.iterdir()))
    assert again.interior.keys() == first.interior.keys()
    assert all(np.array_equal(again.interior[name], first.interior[name]) for name in first.interior)
    assert again.samples == first.samples
    assert [len(texts) for texts in first.sampled("forget")] == [3] * 5
    assert observe(model, PROBES, spec).samples == first.samples  # by their seed
    assert observe(model, PROBES, Spec(max_new_tokens=4, samples=(("forget", 3),), seed=6)).samples != first.samples


def test_a_classifier_has_the_state_before_its_last_linear_layer():
    model, records = tiny.classifier(), tiny.features(5)
    seen = observe(model, {"forget": records}, Spec(interior=("forget",)))
    (batch,) = model.batches(model.encode(records))
    with model.evaluating():
        features = model.features(batch)
    np.testing.assert_allclose(seen.inside("forget")[:, 0][batch.index.numpy()], features, atol=1e-6)
    assert list(seen.interior) == ["forget.hidden", "forget.layer00.hidden_layers.0", "forget.output"]
    logp = seen.inside("forget", "output")
    expected = logp[range(5), [record["label"] for record in records]] - np.log(np.exp(logp).sum(1))
    np.testing.assert_allclose(-seen.nll("forget"), expected, atol=1e-5)


RGB = [
    {"id": str(row), "image": np.random.default_rng(row).random((3, 32, 32), dtype=np.float32), "label": row % 2}
    for row in range(5)
]
NETS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "ResNet": (
        "ForImageClassification",
        {"embedding_size": 8, "hidden_sizes": [8, 8, 16], "depths": [1, 1, 1], "layer_type": "basic"},
        ["embeddings", "stage 1", "stage 2", "penultimate"],
    ),
    "ViT": (
        "ForImageClassification",
        {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
         "image_size": 32, "patch_size": 8},
        ["embeddings", "stage 1", "penultimate"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_stages_of_transformers_classifiers_are_pooled_over_places(name: str):
    end, arguments, layers = NETS[name]
    config = getattr(transformers, f"{name}Config")(**arguments, num_labels=4)
    net: Any = tiny.drawn(lambda: getattr(transformers, name + end)(config)).eval()
    seen = observe(Classifier(net), {"forget": RGB}, Spec(interior=("forget",)))
    assert list(seen.layers("forget")) == layers
    with torch.no_grad():
        states = net(torch.stack([torch.from_numpy(r["image"]) for r in RGB]), output_hidden_states=True).hidden_states
    for rows, state in zip(seen.layers("forget").values(), states[:-1], strict=False):
        pooled = state.mean(1) if state.dim() == 3 else state.mean((2, 3))
        np.testing.assert_allclose(rows, pooled, atol=1e-5)


def test_blocks_are_what_stands_in_the_lists_of_a_network(tmp_path: Path):
    """The shortcut of a residual block is no block of its own, norms are none, and the order is that of the layers."""

    class Residual(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.wide = nn.Conv2d(width, width, 3, padding=1)
            self.downsample = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width))

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.wide(x) + self.downsample(x))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3)
            self.norm = nn.BatchNorm2d(4)
            self.layer1 = nn.Sequential(*(Residual(4) for _ in range(12)))
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.layer1(self.norm(self.stem(x))).mean((2, 3)))

    records = [{**record, "image": record["image"][:, :4, :4]} for record in RGB]
    seen = observe(Classifier(tiny.drawn(Net).eval()), {"forget": records}, Spec(interior=("forget",)), cache=tmp_path)
    stored = Evidence.load(next(tmp_path.iterdir()))
    widths = {name: states.shape for name, states in stored.layers("forget").items()}
    assert list(widths) == ["stem", *(f"layer1.{i}" for i in range(11)), "penultimate"]
    assert set(widths.values()) == {(5, 4)}
    assert all(np.array_equal(states, stored.layers("forget")[n]) for n, states in seen.layers("forget").items())


def test_what_is_wrapped_around_a_model_has_no_inside_of_its_own():
    """A decoding-time method changes what is said; beneath it everything is where it was."""
    plain, model = tiny.language(), tiny.language()
    model.module = wrap(model.module, [tiny.causal(seed=3, num_hidden_layers=1)], weights=[-0.8])
    inside, outside = (observe(one, PROBES, SPEC) for one in (plain, model))
    assert np.abs(inside.nll("forget") - outside.nll("forget")).max() > 0.1
    for name, rows in inside.interior.items():
        np.testing.assert_array_equal(outside.interior[name], rows)


def test_a_steered_model_is_looked_at_as_it_is_steered():
    """The vector stands in the block's output, in all that follows, and in the lens."""
    model = tiny.language()
    vector = torch.randn(tiny.WIDTH, generator=torch.Generator().manual_seed(0))
    plain, moved = (observe(one, PROBES, SPEC) for one in (model, steered(model, {0: Added(vector)})))
    gap = moved.inside("forget") - plain.inside("forget")
    np.testing.assert_allclose(gap[:, 0], 0, atol=1e-6)
    np.testing.assert_allclose(gap[:, 1], np.tile(vector.numpy(), (5, 1)), atol=1e-5)
    np.testing.assert_allclose(moved.inside("forget", "logp")[:, -1], -moved.nll("forget"), rtol=1e-5)


def test_the_passes_are_counted():
    spec = Spec(generate=(), interior=("forget", "holdout"), samples=(("forget", 3),))
    seen = observe(tiny.language(), {**PROBES, "holdout": []}, spec)
    assert (seen.passes["interior"], seen.passes["samples"]) == (10, 15)  # once to the end of the prompt, once parting


class Crooked(nn.Module):
    """A norm that knows more than its input: the way to the logits is not the same for every state."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, state: Tensor) -> Tensor:
        self.calls += 1
        return state * self.calls


def test_what_a_model_does_not_have_is_left_out_and_asked_for_in_one_sentence():
    crooked: Any = tiny.language()
    crooked.module.model.norm = Crooked()
    seen = observe(crooked, PROBES, SPEC)
    assert set(seen.interior) == {"forget.hidden", "forget.parting"}
    with pytest.raises(InputError, match=r"no logit lenses were observed; name it in Spec.interior"):
        seen.inside("forget", "rise")
    facts = observe(Classifier(Facts()), {"forget": [{"id": "a", "features": [0.0, 1.0], "label": 1}]}, SPEC)
    recommended = observe(tiny.recommender(), {"forget": tiny.interactions()[:4]}, SPEC)
    assert not facts.interior
    assert set(recommended.interior) == {"forget.alone"}
    with pytest.raises(InputError, match="No answers to the set 'forget' were sampled"):
        seen.sampled("forget")
    for bad in (("nowhere", 2), ("forget", 0)):
        with pytest.raises(InputError, match=r"sampled answers to the set .* cannot be had"):
            observe(tiny.language(), PROBES, Spec(generate=(), distributions=(), samples=(bad,)))
