"""What tests of large applications share with the integration tests."""

from integration.conftest import directory, gate, plain_bind

__all__ = ["directory", "gate", "plain_bind"]
