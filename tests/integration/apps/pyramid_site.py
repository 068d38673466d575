"""A Pyramid application of one page, made by a PasteDeploy factory."""

import logging
from typing import Any

from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import Response

log = logging.getLogger(__name__)


def hello(request: Request) -> Response:
    log.info("hello was asked for")
    return Response(f"hello {request.registry.settings['message']}")


def main(global_config: dict[str, str], **settings: str) -> Any:
    config = Configurator(settings=settings)
    config.add_route("hello", "/")
    config.add_view(hello, route_name="hello")
    return config.make_wsgi_app()


def broken(global_config: dict[str, str], **settings: str) -> Any:
    raise RuntimeError("no database")
