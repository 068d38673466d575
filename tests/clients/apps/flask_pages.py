"""A Flask application: session, form, upload, stream, redirect, file with ranges."""

import hashlib
import os
from collections.abc import Iterator

from flask import Flask, Response, flash, get_flashed_messages, jsonify, redirect, request, send_file, session, url_for
from flask import stream_with_context as with_context

app = Flask(__name__)
app.secret_key = "for these tests only"


@app.post("/login")
def login() -> Response:
    session["user"] = request.form["user"]
    flash("welcome")
    answer = redirect(url_for("me"), 303)
    answer.set_cookie("theme", "dark; really", httponly=True)
    answer.set_cookie("size", "large")
    return answer  # type: ignore[return-value]


@app.get("/me")
def me() -> Response:
    return jsonify(user=session.get("user"), cookies=request.cookies, flashed=get_flashed_messages())


@app.post("/upload")
def upload() -> Response:
    file = request.files["file"]
    digest = hashlib.file_digest(file.stream, "sha256")  # type: ignore[arg-type]
    return jsonify(name=file.filename, sha256=digest.hexdigest(), note=request.form["note"])


@app.post("/raw")
def raw() -> Response:
    """Read the body from the stream that Flask gives, whatever its length."""
    digest = hashlib.sha256()
    while piece := request.stream.read(65536):
        digest.update(piece)
    return jsonify(sha256=digest.hexdigest())


@app.post("/json")
def json() -> Response:
    return jsonify(got=request.get_json())


@app.get("/stream")
def stream() -> Response:
    def lines() -> Iterator[str]:
        for number in range(int(request.args["lines"])):
            yield f"line {number}\n"

    return Response(with_context(lines()), mimetype="text/plain")


@app.get("/file")
def file() -> Response:
    return send_file(os.environ["PAGES_FILE"], conditional=True)


@app.route("/any", methods=["PUT", "PATCH", "DELETE", "OPTIONS"])
def any_method() -> Response:
    return jsonify(method=request.method, body=request.get_data(as_text=True))
