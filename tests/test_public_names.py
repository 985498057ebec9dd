"""The root of the package: a declared list of names, and an import that costs next to nothing."""

import json
import subprocess
import sys
from importlib.metadata import version

import lethe

# Adding a public name is a promise to users: it is made here, on purpose, as well as in the package.
PUBLIC = [
    "Evidence", "InputError", "Request", "__version__", "audit", "bench", "bench_headlines", "calibrate", "demo",
    "load", "observe", "rescore", "sequence", "tddbench", "tune", "ulira", "unlearn", "verify",
]  # fmt: skip

HEAVY = [
    "torch",
    "transformers",
    "numpy",
    "scipy",
    "sklearn",
    "matplotlib",
    "pandas",
    "pyarrow",
    "PIL",
    "optuna",
    "sqlalchemy",
]

PROBE = f"""
import json, sys, time
start = time.perf_counter()
import lethe
seconds = time.perf_counter() - start
print(json.dumps({{"seconds": seconds, "heavy": [name for name in {HEAVY} if name in sys.modules]}}))
"""


def imported_afresh() -> dict:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def test_the_public_names_are_the_declared_ones():
    assert sorted(lethe.__all__) == sorted(PUBLIC)
    assert len(set(lethe.__all__)) == len(lethe.__all__)


def test_every_public_name_resolves_and_is_listed():
    for name in lethe.__all__:
        assert getattr(lethe, name) is not None
    assert set(lethe.__all__) <= set(dir(lethe))


def test_the_version_is_that_of_the_distribution():
    assert lethe.__version__ == version("lethe-ml")


def test_import_is_light_and_quick():
    runs = [imported_afresh() for _ in range(3)]
    assert runs[0]["heavy"] == []
    assert min(run["seconds"] for run in runs) < 0.5  # the best of three: a busy machine is not our fault
