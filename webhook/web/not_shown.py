"""The one answer about every image that strangers are not shown.

It is the same whether nobody has pushed the image, the policy does not allow it, only
some may pull it, or it has not been looked at yet; else the answer would tell strangers
which names there are. So it says all that the image's author may have to look after.
"""

from typing import NamedTuple

from workers.config import SiteConfig
from workers.reference import DOCKER_HUB, Reference

HEADING = "There is nothing to show of this image"
EXPLANATION = (
    "This service says the same of an image that it has never heard of, that it may not"
    " publish, that not everybody can pull, and that it has not looked at yet."
)


class Check(NamedTuple):
    """Something that an author has to look after.

    Attributes:
        question: in one line.
        advice: how to find out.
        command: that answers it; empty where none does.
    """

    question: str
    advice: str
    command: str = ""


def checks(reference: Reference) -> tuple[Check, ...]:
    """Return what to look after, in this order, for a reference that somebody typed."""
    # Without a name it is Docker Hub that one is logged out of, and no other.
    registry = "" if reference.registry == DOCKER_HUB else f" {reference.registry}"
    return (
        Check(
            "Is the name right?",
            "Registry, namespace, name and tag have to be those that were pushed, in"
            " the same letters.",
        ),
        Check(
            "Can everybody pull it?",
            "This has to work without a login, for what is published can be read by the"
            " whole world.",
            f"docker logout{registry} && docker pull {reference}",
        ),
        Check(
            "May it be published?",
            "The policy of this service has to allow its namespace and its tag; ask for"
            " yours to be allowed.",
        ),
        Check(
            "Did the push tell us?",
            "The registry has to send its notifications here; its list of webhook"
            " deliveries has ours, answered with 200 or 202. Then it takes moments:"
            " this page changes by itself.",
        ),
    )


def contact(site: SiteConfig) -> str:
    """Return whom to ask, as words that fit after "ask"."""
    name = site.administrator or "the operator of this service"
    of = f" ({site.organisation})" if site.organisation else ""
    return f"{name}{of}" + (f", {site.email}" if site.email else "")
