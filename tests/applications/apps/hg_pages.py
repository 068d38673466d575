"""Mercurial's repository in ``HG_SERVED``: what ``hg serve`` serves, which everybody may push to."""

import os

from held import held
from mercurial import hgweb

application = held(hgweb.hgweb(os.environb[b"HG_SERVED"]))
