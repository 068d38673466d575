"""The same site with its static files by WhiteNoise, below the working directory."""

from pathlib import Path

from fronted_app import application as site
from whitenoise import WhiteNoise

application = WhiteNoise(site, root=Path("static").resolve(), prefix="static/")
