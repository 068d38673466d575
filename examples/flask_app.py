"""A Flask application: ``spawn flask_app:app`` in this directory (``pip install flask``)."""

from flask import Flask, request

app = Flask(__name__)


@app.get("/")
def index() -> str:
    name = request.args.get("name", "world")
    return f"Hello, {name}!\n"


@app.post("/echo")
def echo() -> bytes:
    return request.get_data()
