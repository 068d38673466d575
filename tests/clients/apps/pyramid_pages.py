"""A Pyramid application: session, form, upload, stream, redirect, file."""

import hashlib
import os
from collections.abc import Iterator

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import FileResponse, Response
from pyramid.session import SignedCookieSessionFactory
from pyramid.view import view_config


@view_config(route_name="login", request_method="POST")
def login(request: Request) -> HTTPSeeOther:
    request.session["user"] = request.POST["user"]
    request.session.flash("welcome")
    answer = HTTPSeeOther(request.route_url("me"))
    answer.set_cookie("theme", "dark", httponly=True)
    answer.set_cookie("size", "large")
    return answer


@view_config(route_name="me", renderer="json")
def me(request: Request) -> dict[str, object]:
    session = request.session
    return {"user": session.get("user"), "cookies": dict(request.cookies), "flashed": session.pop_flash()}


@view_config(route_name="upload", request_method="POST", renderer="json")
def upload(request: Request) -> dict[str, str]:
    file = request.POST["file"]
    digest = hashlib.file_digest(file.file, "sha256").hexdigest()
    return {"name": file.filename, "sha256": digest, "note": request.POST["note"]}


@view_config(route_name="raw", request_method="POST", renderer="json")
def raw(request: Request) -> dict[str, str]:
    digest = hashlib.sha256()
    while piece := request.body_file.read(65536):
        digest.update(piece)
    return {"sha256": digest.hexdigest()}


@view_config(route_name="json", request_method="POST", renderer="json")
def json(request: Request) -> dict[str, object]:
    return {"got": request.json_body}


@view_config(route_name="stream")
def stream(request: Request) -> Response:
    def lines() -> Iterator[bytes]:
        for number in range(int(request.GET["lines"])):
            yield f"line {number}\n".encode()

    return Response(app_iter=lines(), content_type="text/plain")


@view_config(route_name="file")
def file(request: Request) -> FileResponse:
    return FileResponse(os.environ["PAGES_FILE"], request)


@view_config(route_name="any", renderer="json")
def any_method(request: Request) -> dict[str, str]:
    return {"method": request.method, "body": request.text}


def make() -> object:
    config = Configurator(session_factory=SignedCookieSessionFactory("for these tests only"))
    for name in ("login", "me", "upload", "raw", "json", "stream", "file", "any"):
        config.add_route(name, f"/{name}")
    config.scan("pyramid_pages")
    return config.make_wsgi_app()


application = make()
