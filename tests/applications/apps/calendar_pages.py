"""Radicale, configured by the file that ``RADICALE_CONFIG`` names."""

from held import held
from radicale import application as radicale

application = held(radicale)
