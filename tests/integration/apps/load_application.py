"""Load an application as a fork server does, ask it for pages, and print what came out of it as JSON.

``python load_application.py '{"factory": …, "args": […], …}' [PATH …]``: the settings as plain values, then the pages.
"""

import json
import sys
from io import BytesIO
from typing import Any
from wsgiref.util import setup_testing_defaults

from spawning.errors import AppLoadError, ConfigError
from spawning.settings import as_dict, checked
from spawning.wsgi_factory import prepare_path, resolve


def main(values: dict[str, Any], paths: list[str]) -> dict[str, Any]:
    prepare_path()
    settings = checked(values, environ={})
    try:
        config = resolve(settings.factory)(as_dict(settings))
        application = resolve(config["app_factory"])(config)
    except ConfigError as error:
        return {"error": "config", "message": str(error)}
    except AppLoadError as error:
        return {"error": "app", "message": str(error), "details": error.details}
    return {
        "error": None,
        "settings": as_dict(checked(config, environ={})),
        "type": type(application).__name__,
        "pages": [get(application, path) for path in paths],
        "connections": open_connections(),
    }


def get(application: Any, path: str) -> dict[str, Any]:
    environ: dict[str, Any] = {"PATH_INFO": path, "wsgi.input": BytesIO()}
    setup_testing_defaults(environ)
    answer: dict[str, Any] = {}

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        answer.update(status=status, headers=dict(headers))

    body = application(environ, start_response)
    try:
        answer["body"] = b"".join(body).decode()
    finally:
        if hasattr(body, "close"):
            body.close()
    return answer


def open_connections() -> list[str]:
    """List Django's open database connections in this thread; asked after the pages, which close theirs."""
    if "django.db" not in sys.modules:
        return []
    from django.db import connections

    return [item.alias for item in connections.all(initialized_only=True) if item.connection is not None]


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]), sys.argv[2:])))
