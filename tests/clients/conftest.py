"""What tests with other people's programs share with the integration tests."""

from integration.conftest import basics, directory, gate, plain_bind

__all__ = ["basics", "directory", "gate", "plain_bind"]
