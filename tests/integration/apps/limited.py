"""A factory that sets limits which have no option: ``spawn -f limited.config_factory head_timeout=1 …``."""

from typing import Any

import crowd  # type: ignore[import-not-found]  # lies beside this file


def config_factory(args: dict[str, Any]) -> dict[str, Any]:
    """Take settings from the arguments, ``name=value`` each."""
    return {**args, **dict(item.split("=", 1) for item in args["args"]), "app_factory": "limited.app_factory"}


def app_factory(config: dict[str, Any]) -> Any:
    return crowd.application
