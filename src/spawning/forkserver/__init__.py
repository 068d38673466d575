"""The fork server of one generation: a fresh interpreter, which the controller starts (``interpreter.fork_server``).

It loads the application once (``generation.py``), and then forks a worker whenever the controller asks (``birth.py``),
from what it has in memory: whatever lies on the disk by then does not matter.
"""
