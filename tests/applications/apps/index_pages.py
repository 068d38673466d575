"""pypiserver with the packages in ``INDEX_ROOT``; everybody may upload."""

import os

import pypiserver
from held import held

application = held(pypiserver.app(roots=[os.environ["INDEX_ROOT"]], password_file=".", authenticate=[]))
