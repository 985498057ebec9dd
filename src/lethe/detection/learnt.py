"""What two of the Query algorithms train themselves: a regression of a model's sureness, and queries on references."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lethe.models.base import Model

STEPS, WIDTH = 400, 64  # of the regression
QUERY_STEPS, QUERY_LR, QUERIES = 30, 0.02, 2


def expected(features: np.ndarray, phi: np.ndarray, asked: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of phi that a network, trained on population records, expects of others: two `(N,)`.

    A normal distribution given the record, fitted by likelihood (arXiv 2307.03694); the last tenth of the population
    chooses when to stop.

    Args:
        features: population records, `(Z, D)`.
        phi: the target's rescaled logits of them, `(Z,)`.
        asked: records whose phi is wanted, `(N, D)`.
        seed: seed of the network.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(features.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))
    middle, scale = phi.mean(), max(float(phi.std()), 1e-6)
    x, y, rows = (torch.from_numpy(np.asarray(v, np.float32)) for v in (features, (phi - middle) / scale, asked))
    held = max(2, len(y) // 10)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    best, kept = float("inf"), {}
    for step in range(STEPS):
        chosen = torch.randint(len(y) - held, (128,), generator=generator)
        optimizer.zero_grad()
        _likelihood(network(x[chosen]), y[chosen]).backward()
        optimizer.step()
        if step % 10 == 9:
            with torch.no_grad():
                value = float(_likelihood(network(x[-held:]), y[-held:]))
            if value < best:
                best, kept = value, {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(kept)
    with torch.no_grad():
        mean, spread = network(rows).double().unbind(-1)
    return mean.numpy() * scale + middle, spread.clamp(-6, 6).exp().numpy() * scale


def _likelihood(output: Tensor, y: Tensor) -> Tensor:
    mean, spread = output.unbind(-1)
    spread = spread.clamp(-6, 6)
    return (spread + 0.5 * ((y - mean) * (-spread).exp()).square()).mean()


def canaries(
    models: Sequence[Model], inside: np.ndarray, images: np.ndarray, labels: np.ndarray, seed: int
) -> np.ndarray:
    """Images near each record at which models with it and models without it differ most, `(N, Q, ...)` in 0..1.

    Gradient ascent on the mean sureness of the models that hold the record less that of the others (arXiv 2210.10750);
    the label stays.

    Args:
        models: reference models, R of them.
        inside: whether each was trained on the record, `(N, R)`.
        images: the records, `(N, ...)` in 0..1.
        labels: their classes, `(N,)`.
        seed: seed of where the queries start.
    """
    rng = np.random.default_rng([seed, 4])
    start = np.repeat(images[:, None], QUERIES, axis=1)
    start = np.clip(start + rng.normal(size=start.shape) * 0.02, 0, 1)
    shape = start.shape
    query = torch.from_numpy(start.reshape(-1, *images.shape[1:]).astype(np.float32)).requires_grad_()
    y = torch.from_numpy(np.repeat(labels, QUERIES))
    share = inside / inside.sum(axis=1, keepdims=True) - ~inside / (~inside).sum(axis=1, keepdims=True)
    weight = torch.from_numpy(np.repeat(share, QUERIES, axis=0).astype(np.float32))
    optimizer = torch.optim.Adam([query], lr=QUERY_LR)
    for _ in range(QUERY_STEPS):
        query.grad = torch.zeros_like(query)
        for number, model in enumerate(models):
            apart = F.cross_entropy(model.module(query), y, reduction="none") * weight[:, number]
            query.grad += torch.autograd.grad(apart.sum(), query)[0]
        optimizer.step()
        with torch.no_grad():
            query.clamp_(0, 1)
    return query.detach().numpy().reshape(shape)
