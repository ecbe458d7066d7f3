import pytest

from tests.running import running


@pytest.fixture
def daemon(tmp_path):
    """A daemon process with the default configuration and the shipped model."""
    with running(tmp_path) as started:
        yield started
