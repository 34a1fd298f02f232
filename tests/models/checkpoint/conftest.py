import shutil

import pytest
from tests.support import factories


@pytest.fixture(scope="package")
def saved(tmp_path_factory):
    """LLaVA with an untied head, in float32."""
    return factories.save("llava", tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")
