"""WsgiDAV serving the directory that ``DAV_ROOT`` names, to everybody; locks and properties are in memory."""

import os

from wsgidav.wsgidav_app import WsgiDAVApp

application = WsgiDAVApp(
    {
        "provider_mapping": {"/": os.environ["DAV_ROOT"]},
        "simple_dc": {"user_mapping": {"*": True}},
        "property_manager": True,
        "lock_storage": True,
        "logging": {"enable": True},
        "verbose": 1,
    }
)
