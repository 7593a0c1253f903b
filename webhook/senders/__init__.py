"""Who sends notifications: one module for each kind, and this table of them."""

from collections.abc import Mapping

from webhook.senders import distribution, dockerhub, gitlab
from webhook.senders.sender import IncomingRequest, Sender

__all__ = ["SENDERS", "IncomingRequest", "Sender"]

SENDERS: Mapping[str, Sender] = {
    "distribution": distribution,
    "dockerhub": dockerhub,
    "gitlab": gitlab,
}
