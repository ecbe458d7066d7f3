from tests.alerts.test_desk import live  # noqa: F401 - a fixture
