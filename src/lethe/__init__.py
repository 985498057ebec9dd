"""Lethe makes a trained model forget on request, and proves how far it forgot."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lethe.api import audit, bench, bench_headlines, demo, tune, unlearn
    from lethe.errors import InputError
    from lethe.evidence import Evidence, observe
    from lethe.models import load
    from lethe.report.verified import verify
    from lethe.request import Request
    from lethe.studies import calibrate, rescore, sequence, tddbench, ulira

__version__ = "0.1.0"

# Public name -> module, imported on first use: `import lethe` loads neither torch nor transformers.
_HOMES = {
    "Evidence": "lethe.evidence",
    "InputError": "lethe.errors",
    "Request": "lethe.request",
    "audit": "lethe.api",
    "bench": "lethe.api",
    "bench_headlines": "lethe.api",
    "calibrate": "lethe.studies",
    "demo": "lethe.api",
    "load": "lethe.models",
    "observe": "lethe.evidence",
    "rescore": "lethe.studies",
    "sequence": "lethe.studies",
    "tddbench": "lethe.studies",
    "tune": "lethe.api",
    "ulira": "lethe.studies",
    "unlearn": "lethe.api",
    "verify": "lethe.report.verified",
}

__all__ = [
    "Evidence",
    "InputError",
    "Request",
    "__version__",
    "audit",
    "bench",
    "bench_headlines",
    "calibrate",
    "demo",
    "load",
    "observe",
    "rescore",
    "sequence",
    "tddbench",
    "tune",
    "ulira",
    "unlearn",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lethe' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
