"""The settings: one table (``table.py``), and all that derives from it.

``values.py`` says what a value may be and ``option.py`` how a setting is reached; ``checking.py`` turns plain values
into :class:`Settings`. ``sources.py`` says which of several sources counts, ``names.py`` and ``files.py`` read
configuration files. ``show.py``, ``schema.py`` and ``page.py`` show what there is. No file here knows what a setting
does.
"""

from spawning.settings.checking import as_dict, checked, from_environment, parsed
from spawning.settings.machine import usable_cpus
from spawning.settings.option import Option
from spawning.settings.table import DEFAULTS, OPTIONS, Settings
from spawning.settings.values import FACTORY_SHORT_NAMES, status_range

__all__ = [
    "DEFAULTS",
    "FACTORY_SHORT_NAMES",
    "OPTIONS",
    "Option",
    "Settings",
    "as_dict",
    "checked",
    "from_environment",
    "parsed",
    "status_range",
    "usable_cpus",
]
