"""Values that a method cannot take are refused in one sentence, not turned into another method or into nothing."""

from typing import Any

import pytest
from tests.models import tiny

from lethe.errors import InputError
from lethe.registry import bind, find

NAN = float("nan")
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("grad_diff", {"retain_weight": -1}, "The weight of the retain term is -1"),
    ("llmu", {"ascent_weight": -1}, "The weight of the forget term is -1"),
    ("uld", {"uniform": -1}, "The weight of the uniform term is -1"),
    ("uld", {"augment": -1}, "uld: augment is -1"),
    ("uld", {"weight": NAN}, "An assistant's weight is nan"),
    ("offset", {"weight": NAN}, "An assistant's weight is nan"),
    ("whp_decoding", {"alpha": -1}, "whp_decoding: alpha is -1"),
    ("whp", {"repeat": -1}, "whp: repeat is -1"),
    ("neggrad_plus", {"balance": 1.5}, "neggrad_plus: balance is 1.5"),
    ("rmu", {"coefficient": -1}, "rmu: coefficient is -1"),
    ("adaptive_rmu", {"scale": -1}, "adaptive_rmu: scale is -1"),
    ("rocr", {"replacement": " "}, "rocr: replacement is empty; give the name of another subject"),
    ("task_vector", {"alpha": NAN}, "The scale of a change of weights is nan"),
    ("npo", {"where": "lora:alpha=0"}, "where=lora: alpha is 0"),
    ("npo", {"where": "fila:rank=2,alpha=-1"}, "where=fila: alpha is -1"),
]


@pytest.mark.parametrize(("name", "options", "message"), REFUSED, ids=lambda part: str(part))
def test_what_is_out_of_range(name: str, options: dict[str, Any], message: str):
    card = find("method", name)
    quick = {k: v for k, v in {"epochs": 1, "lr": 1e-3, "batch_size": 4}.items() if k in card.options()}
    with pytest.raises(InputError, match=f"^{message}"):
        card.function(tiny.language(), tiny.request("language"), **bind(card.function, quick | options))
