"""The pages of the site; see ``pages_settings.py``."""

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django import forms
from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import condition

from spawning.contrib.django.websocket import websocket
from spawning.websocket import WebSocket

CHANGED = datetime(2024, 2, 29, 12, 0, tzinfo=UTC)


class Guest(forms.Form):
    name = forms.CharField(max_length=20)
    age = forms.IntegerField(min_value=0)
    tags = forms.MultipleChoiceField(choices=[("a", "A"), ("b", "B"), ("ä", "Ä")], required=False)


def guest(request: HttpRequest) -> HttpResponse:
    """A form: its token, its errors, and what was understood, kept in the session and shown after a redirect."""
    if request.method != "POST":
        return JsonResponse({"token": get_token(request), "last": request.session.get("last")})
    form = Guest(request.POST)
    if not form.is_valid():
        return JsonResponse(form.errors, status=422)
    request.session["last"] = form.cleaned_data
    return redirect("/guest/")


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponse:
    """Answer what arrived: each file with its size and hash, the other fields, and who served."""
    files = {name: _told(file) for name, file in request.FILES.items()}
    return JsonResponse({"files": files, "fields": request.POST.dict(), "pid": os.getpid()})


def _told(file: Any) -> dict[str, Any]:
    digest = hashlib.sha256()
    for piece in file.chunks():
        digest.update(piece)
    return {"name": file.name, "size": file.size, "sha256": digest.hexdigest()}


@csrf_exempt
def raw(request: HttpRequest) -> HttpResponse:
    """Read the body as it comes, without parsing it."""
    digest, size = hashlib.sha256(), 0
    while piece := request.read(65536):
        digest.update(piece)
        size += len(piece)
    return JsonResponse({"size": size, "sha256": digest.hexdigest(), "length": request.META.get("CONTENT_LENGTH")})


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def lines() -> Iterator[str]:
        for number in range(int(request.GET["lines"])):
            yield f"line {number} ä\n"

    return StreamingHttpResponse(lines(), content_type="text/plain; charset=utf-8")


def file(request: HttpRequest, name: str) -> FileResponse:
    return FileResponse((Path(settings.FILES) / name).open("rb"), as_attachment="save" in request.GET)


@condition(etag_func=lambda request: '"v1"', last_modified_func=lambda request: CHANGED)
def conditional(request: HttpRequest) -> HttpResponse:
    return HttpResponse("the document")


def etagged(request: HttpRequest) -> HttpResponse:
    return HttpResponse("a document that the middleware gives an ETag")


def broken(request: HttpRequest) -> HttpResponse:
    raise LookupError("broken on purpose")


@websocket(supported_protocols=["chat"])
def chat(request: HttpRequest, ws: WebSocket, room: str) -> None:
    """Echo into a room, named by the URL, for a user that the session knows."""
    ws.send(f"{room} {ws.protocol} {request.session.get('last')}")
    for message in ws:
        ws.send(message)


urlpatterns = [
    path("chat/<room>", chat),
    path("guest/", guest),
    path("upload/", upload),
    path("raw/", raw),
    path("stream/", stream),
    path("file/<str:name>", file),
    path("conditional/", conditional),
    path("etagged/", etagged),
    path("broken/", broken),
]
