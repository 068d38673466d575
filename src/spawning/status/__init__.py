"""The status service (``--status``): a process of its own, in which a WSGI application is served by Spawning's worker.

What it shows the controller tells it once a second; it asks nobody and decides nothing. If it dies or hangs, nobody
else notices, and the controller starts it again.
"""
