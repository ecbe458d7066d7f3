from tests.pulse import pulse  # noqa: F401 - a fixture
