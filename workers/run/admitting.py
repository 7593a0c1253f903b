"""What a job asks before it publishes: may this image be in this repository?

The front has asked the policy before; here it is asked again, with what only the
registry and the image itself can say.
"""

from collections.abc import Sequence

from workers.errors import PermanentError, TransientError, WorkerError
from workers.formats.formats import formats_named
from workers.formats.paths import image_path
from workers.images.rejected import ImageRejected
from workers.images.resolved import ResolvedImage
from workers.policy import PolicyFile, Rule
from workers.publishing.publisher import Publisher
from workers.reference import Reference
from workers.registry import RegistryClient, UnsupportedManifest

_LONGEST_NAME = 255  # Linux, NAME_MAX; a repository's catalogs hold no more either


class Refused(PermanentError):
    """The policy does not let this image in."""

    is_open = True


class NotPublic(Refused):
    """Nobody but us can pull this image, and its rule does not want it then."""


class PolicyUnusable(TransientError):
    """There is no good policy to decide by; it says nothing about the image."""


def decide(policy_file: PolicyFile, reference: Reference) -> Rule:
    """Ask the policy again: it may have changed since the push was accepted.

    Raises:
        Refused: it does not let the image in.
        PolicyUnusable: there is none to ask.
    """
    policy = policy_file.current()
    if policy_file.problem is not None and not policy.digest:
        raise PolicyUnusable(
            "the policy file is broken, so nothing is decided: once the operator has "
            "mended it, this goes on"
        )
    decision = policy.decide(reference)
    if not decision.allowed or decision.rule is None:
        raise Refused(decision.reason)
    return decision.rule


def check_name(reference: Reference) -> None:
    """Refuse a name that no file system holds: tags lie beside their repositories.

    Raises:
        ImageRejected: the last part of the name and the tag are too long together.
    """
    last = image_path(reference).rpartition(b"/")[2]
    if len(last) > _LONGEST_NAME:
        raise ImageRejected(
            f"the last part of the name and the tag have {len(last)} bytes together,"
            f" and a file system takes {_LONGEST_NAME}: push it with a shorter tag"
        )


def check_publisher(fqrn: str, publisher: Publisher, rule: Rule) -> None:
    """Refuse formats that would show deleted files, where a publisher loses marks."""
    needs = any(each.needs_whiteouts for each in formats_named(rule.formats))
    if needs and not publisher.holds_whiteouts:
        raise Refused(
            f"{fqrn} is published in a way that cannot hold overlay whiteouts, so files"
            f" that a layer deletes would show: write `formats: [flat]` in {rule}"
        )


def check_private(client: RegistryClient, reference: Reference, rule: Rule) -> None:
    """Refuse what no anonymous client can pull: CVMFS is world-readable."""
    if rule.private == "allow":
        return
    if not client.is_public(reference):
        raise NotPublic(
            f"{reference} cannot be pulled without a login and CVMFS is world-readable;"
            " a rule with `private: allow` would publish it"
        )


def check_withheld(
    client: RegistryClient,
    reference: Reference,
    images: Sequence[ResolvedImage],
    rule: Rule,
) -> None:
    """Refuse an image of which no anonymous client can read all.

    Args:
        client: of the registries.
        reference: by digest.
        images: what will be published of it.
        rule: that decided.
    """
    if rule.private == "allow":
        return
    parts: dict[str, str] = {}
    for image in images:
        for number, layer in enumerate(image.manifest.layers, 1):
            parts.setdefault(layer.digest, f"layer {number} ({layer.digest[:19]}…)")
        parts.setdefault(image.manifest.config.digest, "the config")
    manifests = [image.manifest_digest for image in images]
    withheld = client.withheld(reference, manifests, parts)
    if withheld is not None:
        part = parts.get(withheld, f"the manifest {withheld[:19]}…")
        raise NotPublic(
            f"{part} of {reference} cannot be pulled without a login and CVMFS is "
            "world-readable; make it public, or let a rule with `private: allow` "
            "publish it"
        )


def is_public(client: RegistryClient, reference: Reference) -> bool | None:
    """Tell whether a client without credentials gets an image; None: nobody says."""
    try:
        return client.is_public(reference)
    except UnsupportedManifest:
        return True  # it was given, whatever it is
    except WorkerError:
        return None


def check_labels(image: ResolvedImage, rule: Rule) -> None:
    """Refuse an image whose author did not opt in, where the rule wants that."""
    labels = image.config.labels or {}
    for name, value in rule.require_label.items():
        if labels.get(name) != value:
            raise Refused(f'the rule wants LABEL {name}="{value}" in the Dockerfile')
