"""What every test shares: one thread, no network, a cache folder of its own, and the published data where they are."""

import os
import tempfile
from pathlib import Path

import pytest

# Set before torch and transformers are imported, and inherited by the processes that tests start.
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

import torch
from hypothesis import settings

torch.set_num_threads(1)

# A loaded machine is no failure, hence no deadline; fixed draws in CI, fresh ones at the desk.
settings.register_profile("lethe", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("lethe")


def pytest_configure(config: pytest.Config) -> None:
    """Point LETHE_CACHE away from the user's own cache, once, before the workers that will share it are started.

    A folder for this run only, so that no test passes on what an older version of the code has cached; LETHE_TEST_CACHE
    names one that is kept, for quicker repeats while writing tests.
    """
    if hasattr(config, "workerinput"):  # a worker of pytest-xdist inherits the controller's folder
        return
    kept = os.environ.get("LETHE_TEST_CACHE")
    if kept:
        os.environ["LETHE_CACHE"] = kept
        return
    folder = tempfile.TemporaryDirectory(prefix="lethe-test-cache-", ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    os.environ["LETHE_CACHE"] = folder.name


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of published data sets named by LETHE_TEST_DATA."""
    named = os.environ.get("LETHE_TEST_DATA")
    if not named:
        pytest.skip("LETHE_TEST_DATA is not set: the published data sets are not part of the repository")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"LETHE_TEST_DATA names {folder}, which is not a folder")
    return folder
