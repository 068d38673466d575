"""What tests with other people's programs share with the integration tests."""

from integration.conftest import basics, gate

__all__ = ["basics", "gate"]
