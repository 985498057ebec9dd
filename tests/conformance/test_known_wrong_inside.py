"""Wrong ways of looking inside a model fail the check that ours pass."""

from typing import Any

import numpy as np
import torch
from pytest import approx
from tests.models import tiny

from lethe.evidence import Spec, observe
from lethe.scoring.probing import best_probe, candidates_hit, label_vectors, read_out
from lethe.scoring.similarity import cka

from . import known_wrong_inside as wrong


def test_two_norms_do_not_end_in_the_models_own_softmax():
    model = tiny.language()
    module: Any = model.module
    with torch.no_grad():  # a fresh norm has weights of 1, and a second pass through it would change nothing
        module.model.norm.weight.copy_(torch.linspace(0.5, 1.5, tiny.WIDTH))
    seen = observe(model, {"forget": tiny.QUESTIONS[:4]}, Spec(generate=(), interior=("forget",)))
    for row, record in enumerate(tiny.QUESTIONS[:4]):
        (example,) = model.encode([record])
        place = next(t for t, label in enumerate(example.inputs["labels"]) if label >= 0)
        with model.evaluating():
            output = module(torch.tensor([example.inputs["input_ids"]]), output_hidden_states=True)
        own = output.logits[0, place].softmax(-1)[example.inputs["labels"][place]].item()
        twice = wrong.lens_with_two_norms(module, [state[0, place] for state in output.hidden_states])
        read = [scores.softmax(-1)[example.inputs["labels"][place]].item() for scores in twice]
        ours = np.exp(seen.inside("forget", "first_logp")[row])
        assert ours[-1] == approx(own, abs=1e-6)
        assert ours[:-1] == approx(read[:-1], abs=1e-6)
        assert abs(read[-1] - own) > 0.05 * own


def test_published_cka_finds_likeness_where_there_is_none():
    a, b = (np.random.default_rng(seed).normal(size=(32, 64)) for seed in (0, 1))
    assert 0.60 < wrong.cka_as_published(a, b) < 0.73
    assert abs(cka(a, b)) < 0.15


def noise(records: int, layers: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(records, layers, 40)), rng.integers(2, size=records), list(range(records))


def test_a_probe_of_its_own_training_records_reads_anything():
    states, labels, groups = noise(30, 1, 0)
    tested, vectors = np.ones(30, dtype=bool), label_vectors(labels.tolist())
    memorised = best_probe([wrong.probe_of_its_own_training_records(states[:, 0])], vectors, tested)
    held_out = best_probe(read_out(states, groups, tested), vectors, tested)
    assert memorised.hits.mean() > 0.95
    assert held_out.hits.mean() < 0.75
    assert held_out.p > 0.05


def test_the_best_of_many_layers_is_read_against_the_best_of_as_many():
    ours, theirs = [], []
    for seed in range(20):
        states, labels, groups = noise(20, 8, seed)
        tested, vectors = np.ones(20, dtype=bool), label_vectors(labels.tolist())
        found = best_probe(read_out(states, groups, tested), vectors, tested, seed=seed)
        ours.append(found.hits.mean() - found.null)
        theirs.append(wrong.selectivity_of_the_best_layer_against_one(found.profile, np.array([0.5])))
    assert abs(np.mean(ours)) < 0.04
    assert np.mean(theirs) > 0.1


def test_an_answer_taken_back_at_the_last_moment_is_a_candidate():
    """PD^2 of the worked case: token 1 is the lowest of both rows."""
    extremes = np.array([[[4, 0], [4, 0]]])
    assert wrong.rising_candidates_alone(extremes, 1) == [0]
    assert candidates_hit(extremes.reshape(1, -1), 1, 20) == [1]
