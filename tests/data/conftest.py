import os
from pathlib import Path

import pytest


@pytest.fixture
def official() -> Path:
    """Folder of real data sets, which the repository does not hold."""
    place = os.environ.get("LETHE_TEST_DATA")
    if not place:
        pytest.skip("LETHE_TEST_DATA does not name a folder of real data sets")
    return Path(place)
