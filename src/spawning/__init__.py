"""Spawning: a WSGI server for which changing code under load is a non-event."""

__version__ = "0.1.0.dev0"
