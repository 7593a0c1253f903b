"""Who sends notifications: one module for each kind, and this table of them.

What the configuration has to know of a kind says ``workers/config/source_kinds.py``.
"""

from collections.abc import Mapping

from webhook.senders import distribution, dockerhub, gitlab
from webhook.senders.sender import IncomingRequest, Sender

__all__ = ["SENDERS", "IncomingRequest", "Sender"]

SENDERS: Mapping[str, Sender] = {
    "distribution": distribution.SENDER,
    "dockerhub": dockerhub,
    "gitlab": gitlab.SENDER,
}
