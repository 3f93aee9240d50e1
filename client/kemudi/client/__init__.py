"""Settings in a running process: read from memory, kept current, never a reason to stop.

`connect` gives a `Client`; `kemudi.client.aio.connect` the same for asyncio; `kemudi.client.testing` one without a
server. This package needs no git, no graph database and no web framework.
"""

from kemudi.client.client import Client
from kemudi.client.connection import connect
from kemudi.client.errors import BindingRefusedError, SecretUnreadableError, SettingNotFoundError
from kemudi.client.health import Health
from kemudi.client.pin import View
from kemudi.client.subscription import Change, Subscription
from kemudi.schema.secret import Secret

__all__ = [
    "BindingRefusedError",
    "Change",
    "Client",
    "Health",
    "Secret",
    "SecretUnreadableError",
    "SettingNotFoundError",
    "Subscription",
    "View",
    "connect",
]
