"""The factory of docs/factories.md, "A factory of your own", and an application with a middleware."""

from collections.abc import Iterable
from typing import Any

from spawning.errors import ConfigError


def config_factory(args: dict[str, Any]) -> dict[str, Any]:
    if args["args"] not in (["staging"], ["production"]):
        raise ConfigError("say staging or production")
    if "threadpool_workers" not in args["explicit"]:
        args["threadpool_workers"] = "50"
    return {**args, "app_factory": "own_factory.app_factory", "stage": args["args"][0]}


def app_factory(config: dict[str, Any]) -> Any:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [config["stage"].encode()]

    return application
