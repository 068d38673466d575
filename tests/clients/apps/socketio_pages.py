"""Flask-SocketIO, as its documentation begins: events that are answered, and told to all."""

import os
from pathlib import Path
from typing import Any

from flask import Flask
from flask_socketio import SocketIO, emit

VERSION = Path(os.environ["VERSION_FILE"]).read_text()

app = Flask(__name__)
app.config["SECRET_KEY"] = "for these tests only"
# "threading" is what it finds by itself where neither eventlet nor gevent is installed.
socketio = SocketIO(app, async_mode=os.environ["ASYNC_MODE"])


@socketio.on("greet")
def greet() -> None:
    emit("greeting", f"version {VERSION}")


@socketio.on("say")
def say(message: Any) -> None:
    emit("said", message, broadcast=True)
