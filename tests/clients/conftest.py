"""What tests with other people's programs share with the integration tests."""

from integration.conftest import basics, bind, gate

__all__ = ["basics", "bind", "gate"]
