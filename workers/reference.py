"""Names of images, parsed once at the door.

Past ``Reference.parse`` nobody splits a name on ``:`` again. The grammar is the OCI
distribution specification's, the defaults are Docker's: ``alpine`` means
``docker.io/library/alpine:latest``.

Read first: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
(section "Pulling manifests") and ``reference.go`` of distribution/reference.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Self

from workers.errors import PermanentError

DOCKER_HUB = "docker.io"
# What people and old tools call Docker Hub; all of them mean one registry.
_DOCKER_HUB_ALIASES = frozenset(
    {"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
)

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(
    rf"({_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]+\])(?::([1-9][0-9]{{0,4}}))?", re.ASCII
)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", re.ASCII)

# distribution/reference, RepositoryNameTotalLengthMax.
_REPOSITORY_LENGTH = 255
# RFC 1035 2.3.4, and a port.
_REGISTRY_LENGTH = 255 + 6
_HIGHEST_PORT = 65535


class InvalidReference(PermanentError):
    """A name that no registry could have given out."""

    def __init__(self, what: str, value: str, mend: str) -> None:
        # repr: the value may hold control characters that must not reach a terminal.
        super().__init__(f"{what} {value[:300]!r} is not valid: {mend}")
        self.value = value


def parse_registry(text: str) -> str:
    """Return the canonical host[:port] of a registry, Docker Hub's aliases folded.

    One registry has one name: an IPv6 address is written as RFC 5952 says, and a port
    without leading zeros. A single word is no host: in front of a repository it would
    be read as a namespace of Docker Hub.
    """
    # Checked before lower(), which makes a k of the Kelvin sign.
    match = _HOST.fullmatch(text) if len(text) <= _REGISTRY_LENGTH else None
    if match is None or int(match[2] or 0) > _HIGHEST_PORT or not _is_host(text):
        raise InvalidReference("registry", text, "give a full host name or host:port")
    host = match[1].lower()
    if host.startswith("["):
        try:
            host = f"[{_ipv6_text(ipaddress.IPv6Address(host[1:-1]))}]"
        except ValueError as error:
            raise InvalidReference(
                "registry", text, "give an IPv6 address in brackets"
            ) from error
    if match[2] is not None:
        return f"{host}:{match[2]}"
    return DOCKER_HUB if host in _DOCKER_HUB_ALIASES else host


def _ipv6_text(address: ipaddress.IPv6Address) -> str:
    """Return an address in hexadecimal digits, whichever Python writes it.

    From 3.13 on it writes a mapped IPv4 address with dots, and one registry would have
    two names.
    """
    if address.ipv4_mapped is None:
        return str(address)
    number = int(address.ipv4_mapped)
    return f"::ffff:{number >> 16:x}:{number & 0xFFFF:x}"


def _is_host(text: str) -> bool:
    return "." in text or ":" in text or text.lower() == "localhost"


def parse_repository(text: str) -> str:
    """Return ``text`` if it is a repository name, without the registry."""
    if len(text) > _REPOSITORY_LENGTH or not _REPOSITORY.fullmatch(text):
        mend = "use lower-case letters, digits and single separators . _ -, 255 at most"
        raise InvalidReference("repository name", text, mend)
    return text


def parse_tag(text: str) -> str:
    """Return ``text`` if it is a tag."""
    if not _TAG.fullmatch(text):
        mend = "use at most 128 letters, digits, _ . - and begin with no . or -"
        raise InvalidReference("tag", text, mend)
    return text


def parse_digest(text: str) -> str:
    """Return ``text`` if it is a digest of a known algorithm in full length."""
    if not _DIGEST.fullmatch(text):
        raise InvalidReference("digest", text, "give sha256: and 64 hex digits")
    return text


@dataclass(frozen=True, slots=True)
class Reference:
    """An image by registry, repository and tag, or digest, or both.

    Attributes:
        registry: canonical host[:port], ``docker.io`` for Docker Hub.
        repository: path without host, ``library/alpine``.
        tag: absent only where a digest is given.
        digest: ``sha256:…``; what a reference with a digest means, whatever its tag.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse what a person or a configuration writes.

        Raises:
            InvalidReference: naming the part that is wrong.
        """
        rest, at, digest = text.partition("@")
        first, slash, others = rest.partition("/")
        # distribution/reference, splitDockerDomain: a first component is a host only
        # if it could not be a namespace.
        if slash and _is_host(first):
            registry, rest = first, others
        else:
            registry = DOCKER_HUB
        repository, colon, tag = rest.partition(":")
        registry = parse_registry(registry)
        if registry == DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        if not colon:
            tag = "" if at else "latest"
        return cls(
            registry,
            parse_repository(repository),
            parse_tag(tag) if tag or colon else None,
            parse_digest(digest) if at else None,
        )

    @property
    def name(self) -> str:
        """Registry and repository, what policies match against."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.name}{tag}{digest}"


_SAMPLE = Reference("registry.example.org:5000", "group/image", "tag")


@dataclass(frozen=True, slots=True)
class ReferenceTemplate:
    """Such as ``registry.example.org/thin/{repository}:{tag}``.

    In place of ``{registry}``, ``{repository}`` and ``{tag}`` comes what the other
    image has. A port is set off by an underscore, as a colon would begin a tag.
    """

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse what a configuration says.

        Raises:
            InvalidReference: it makes no name, or one name for several images.
        """
        template = cls(text)
        template.fill(_SAMPLE)
        if "{repository}" not in text or "{tag}" not in text:
            mend = "name both {repository} and {tag} in it"
            raise InvalidReference("template", text, mend)
        return template

    def fill(self, reference: Reference) -> Reference:
        """Return the name for an image that has a tag.

        Raises:
            InvalidReference: there is no such name; it may be too long.
        """
        values = {
            "{registry}": reference.registry.replace(":", "_"),
            "{repository}": reference.repository,
            "{tag}": reference.tag or "latest",
        }
        text = self.text
        for name, value in values.items():
            text = text.replace(name, value)
        return Reference.parse(text)
