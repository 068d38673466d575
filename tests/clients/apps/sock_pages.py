"""A Flask application with WebSockets: by Flask-Sock, and by a view that returns an application of Spawning's."""

import os
from pathlib import Path
from typing import Any

from flask import Flask
from flask_sock import Sock

from spawning.websocket import WebSocket, WebSocketWSGI

VERSION = Path(os.environ["VERSION_FILE"]).read_text()

app = Flask(__name__)
app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": 25}
sock = Sock(app)


@sock.route("/flask-sock")
def flask_sock(ws: Any) -> None:
    ws.send(f"version {VERSION}")
    while (message := ws.receive()) != "close":
        ws.send(message)


@app.route("/ours", websocket=True)
def ours() -> WebSocketWSGI:
    def greet(ws: WebSocket) -> None:
        ws.send(f"version {VERSION}")
        for message in ws:
            ws.send(message)

    return WebSocketWSGI(greet)


@app.get("/")
def index() -> str:
    return VERSION
