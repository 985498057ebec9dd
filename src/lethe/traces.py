"""What is observed of single value vectors: what they write, how strongly questions call them, what else writes it.

The vectors of the model before unlearning are kept in a file (`remember`); every model is then looked at beside them
(`look`), so that metrics of an evidence need no other model.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lethe.data.atomic import write_bytes
from lethe.data.content import digest
from lethe.errors import InputError
from lethe.models.language import LanguageModel
from lethe.models.projections import coefficients, layer_number, output_projections
from lethe.scoring.traces import legible, top_tokens

Place = tuple[int, int]  # layer, dimension


@dataclass(frozen=True)
class Traces:
    """Which value vectors to look at.

    Args:
        reference: File that `remember` wrote of the model before unlearning.
        questions: Set at whose prompts' last tokens the vectors' coefficients are read.
    """

    reference: str
    questions: str = "forget"


def output_embedding(model: LanguageModel) -> Tensor:
    """E (V, D) in float32, without the final norm; rows that no token has are left out."""
    inner: Any = model.inner
    return inner.get_output_embeddings().weight.detach().float()[: len(model.tokenizer)]


def remember(
    model: LanguageModel,
    places: Sequence[Place],
    prompts: Sequence[str],
    own: Collection[int],
    weights: np.ndarray,
    folder: Path,
) -> Path:
    """Keep what `look` compares with; the same content is written once.

    Args:
        model: The model before unlearning.
        places: Its value vectors of the concept.
        prompts: Texts at whose last tokens coefficients are read.
        own: The concept's own tokens.
        weights: How much each token belongs to the concept, nats, (V,).
        folder: Where the file goes.

    Raises:
        InputError: If there is no vector, or a place does not exist.
    """
    if not places:
        raise InputError("Traces need at least one value vector, as (layer, dimension).")
    embedding = output_embedding(model)
    mask = np.zeros(len(embedding), dtype=np.int64)
    mask[list(own)] = 1
    kept = {
        "embedding": embedding.cpu().numpy(),
        "places": np.array(places, dtype=np.int64),
        "values": _values(model, places),
        "own": mask,
        "weights": np.asarray(weights, dtype=np.float32),
        "coefficients": _coefficients(model, places, prompts),
        "residual": _residual(model, weights),
    }
    from safetensors.numpy import save

    key = digest([model.behaviour(), list(places), list(prompts), mask.tolist(), kept["weights"].tolist()])
    file = Path(folder) / f"{key[:32]}.safetensors"
    if not file.exists():
        write_bytes(file, save({name: np.ascontiguousarray(array) for name, array in kept.items()}))
    return file


def look(model: LanguageModel, prompts: Sequence[str], spec: Traces) -> dict[str, np.ndarray]:
    """The vectors at their places, beside those before: arrays by name, of P vectors, k top tokens and Q prompts.

    before, after (P, D): the vectors. top_before, top_after (P, k): their traces, each under its own model's output
    embedding; top_original (P, k): that of the vector after under the embedding before. own (P, k): which tokens of
    top_before are the concept's; own_after (P, k): which of top_after. coefficients_before, coefficients (P, Q).
    residual_before, residual (3,): the best overlap of any vector with the concept in nats, its layer, its dimension.

    Raises:
        InputError: If the reference cannot be read, or is that of a model of another shape.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        kept = load_file(spec.reference)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{spec.reference}: holds no value vectors to compare with ({error}); make it anew."
        ) from error
    places = [(int(layer), int(dim)) for layer, dim in kept["places"]]
    embedding, after = output_embedding(model).cpu().numpy(), _values(model, places)
    if embedding.shape != kept["embedding"].shape or after.shape != kept["values"].shape:
        raise InputError(
            f"{spec.reference}: is of a model with an output embedding of {kept['embedding'].shape}, not "
            f"{embedding.shape}; compare models of one architecture and tokenizer."
        )
    tops = {
        "top_before": _tops(kept["embedding"], kept["values"]),
        "top_after": _tops(embedding, after),
        "top_original": _tops(kept["embedding"], after),
    }
    return {
        "before": kept["values"],
        "after": after,
        **tops,
        "own": kept["own"][tops["top_before"]],
        "own_after": kept["own"][tops["top_after"]],
        "coefficients_before": kept["coefficients"],
        "coefficients": _coefficients(model, places, prompts),
        "residual_before": kept["residual"],
        "residual": _residual(model, kept["weights"]),
    }


def _values(model: LanguageModel, places: Sequence[Place]) -> np.ndarray:
    projections = output_projections(model)
    found = []
    for layer, dim in places:
        matrix = projections[layer_number(layer, len(projections), "traces")].matrix
        if not 0 <= dim < matrix.shape[1]:
            raise InputError(f"traces: layer {layer} has no dimension {dim}; it has 0 to {matrix.shape[1] - 1}.")
        found.append(matrix[:, dim].float().cpu().numpy())
    return np.stack(found)


def _coefficients(model: LanguageModel, places: Sequence[Place], prompts: Sequence[str]) -> np.ndarray:
    """(P, Q); every layer is run through once."""
    found: dict[Place, Tensor] = {}
    for layer in dict.fromkeys(layer for layer, _ in places):
        dims = [dim for one, dim in places if one == layer]
        rows = coefficients(model, layer, dims, prompts)
        found |= {(layer, dim): rows[:, column] for column, dim in enumerate(dims)}
    return torch.stack([found[place] for place in places]).float().cpu().numpy()


def _tops(embedding: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.stack([top_tokens(embedding, value) for value in values])


def _residual(model: LanguageModel, weights: np.ndarray) -> np.ndarray:
    """The vector of all that tells most of the concept."""
    embedding, best = output_embedding(model), (-1.0, 0, 0)
    for projection in output_projections(model):
        told = legible((embedding @ projection.matrix.float()).cpu().numpy(), weights)
        dim = int(told.argmax())
        best = max(best, (float(told[dim]), -projection.layer, -dim))  # of equals the first
    return np.array([best[0], -best[1], -best[2]], dtype=np.float64)
