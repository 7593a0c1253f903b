"""Single values of the configuration: what a text may be, where a secret comes from.

Each function takes what the file says and returns the value, or raises ``BadValue``
with the reason and the mend; which key it was is the caller's to say. No message
contains a secret.
"""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from workers.errors import PermanentError

# The contract's own example, design section 5.2, has this length.
_SHORTEST_SECRET = 6
_LARGEST_SECRET_BYTES = 65_536
_HIGHEST_PORT = 65_535
_VARIABLE = re.compile(r"\$\{([^}]*)(\}?)")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# RFC 3986, pchar without percent-encoding: what may be pasted into a path as it is.
_PATH_SAFE = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]+", re.ASCII)
# The names that S3 allows for buckets, and keys that no client has to escape.
_BUCKET_URL = re.compile(
    r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*/?", re.ASCII
)
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+", re.ASCII)


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class BadValue(PermanentError):
    """A value of the configuration that cannot be used."""


class Secret:
    """A text that shows itself only when asked by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text; whoever calls this must not log, store or print it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('…')"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Put the environment's values in place of ``${NAME}``; they are not read again."""

    def value(match: re.Match[str]) -> str:
        name, end = match.groups()
        if not end or not _VARIABLE_NAME.fullmatch(name):
            raise BadValue("'${' must be followed by the name of a variable and '}'")
        if name not in environ:
            raise BadValue(f"the environment variable {name} is not set")
        return environ[name]

    return _VARIABLE.sub(value, text)


def secret_from_file(path: Path) -> str:
    """Return what a secret's file holds, without the newline that editors append."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_SECRET_BYTES + 1)
    except OSError as exc:
        raise BadValue(f"cannot read {str(path)!r}: {exc.strerror}") from exc
    if len(data) > _LARGEST_SECRET_BYTES:
        raise BadValue(f"{str(path)!r} is larger than {_LARGEST_SECRET_BYTES} bytes")
    try:
        return data.decode().rstrip("\r\n")
    except UnicodeDecodeError as exc:
        raise BadValue(f"{str(path)!r} is not UTF-8 text") from exc


def password_from_file(path: Path) -> Secret:
    """Return the password that a file holds at this moment."""
    return password(secret_from_file(path))


def credential(text: str) -> Secret:
    """Return a secret that senders or operators prove themselves with."""
    if len(text) < _SHORTEST_SECRET:
        raise BadValue(f"is too short: use at least {_SHORTEST_SECRET} characters")
    # A header's value arrives without its outer spaces, and cannot hold a line break.
    if text != text.strip() or not text.isprintable():
        raise BadValue("must have no control characters and no spaces at its ends")
    return Secret(text)


def path_credential(text: str) -> Secret:
    """Return a secret that is part of a URL's path."""
    if text and not _PATH_SAFE.fullmatch(text):
        raise BadValue("is part of the URL: use letters, digits and . _ ~ - only")
    return credential(text)


def password(text: str) -> Secret:
    """Return a secret that somebody else made up."""
    if not text:
        raise BadValue("must not be empty")
    return Secret(text)


def listen_address(text: str) -> str:
    """Return ``text`` if it is host:port."""
    host, _, port = text.rpartition(":")
    good = _HOST.fullmatch(host) and port.isascii() and port.isdigit()
    if not good or int(port) > _HIGHEST_PORT:
        raise BadValue(f"must be host:port such as 127.0.0.1:8080, not {text!r}")
    return text


def network(text: str) -> Network:
    """Return a network in CIDR notation; an address alone is one of its own."""
    try:
        given = ipaddress.ip_network(text, strict=False)
    except ValueError as exc:
        raise BadValue(
            f"must be a network such as 10.0.0.0/8, or an address, not {text!r}"
        ) from exc
    if ipaddress.ip_interface(text).ip != given.network_address:
        raise BadValue(f"has bits beyond its mask: write {given}, not {text!r}")
    if isinstance(given, ipaddress.IPv6Network) and given.network_address.ipv4_mapped:
        raise BadValue(f"is of IPv4: write it so, as in 10.0.0.0/8, not {text!r}")
    return given


def public_url(text: str) -> str:
    """Return an http(s) URL without its trailing slash."""
    try:
        parts = urlsplit(text)
        good = (
            parts.scheme in {"http", "https"}
            and _HOST.fullmatch(parts.netloc.removesuffix(f":{parts.port}"))
            and text.isprintable()
            and not (set(text) & set("?#@ "))
        )
    except ValueError:
        good = False
    if not good:
        raise BadValue(f"must be a URL such as https://hooks.example.org, not {text!r}")
    return text.rstrip("/")


def proxy_url(text: str) -> Secret:
    """Return the URL of an HTTP proxy, hidden because it may carry a password.

    Of ``none`` it is empty.
    """
    if text == "none":
        return Secret("")
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        is_good = parts.scheme == "http" and parts.hostname and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or not url.isascii() or not url.isprintable() or " " in url:
        raise BadValue("must be http://[user:password@]host:port of an HTTP proxy")
    return Secret(url)


def queue_url(text: str) -> Secret:
    """Return a Redis URL, hidden because it may carry a password."""
    if not text.startswith(("redis://", "rediss://", "unix://")):
        raise BadValue("must begin with redis://, rediss:// or unix://")
    try:
        parts = urlsplit(text)
        has_host = parts.port is not None or parts.hostname is not None
        options = parse_qs(parts.query, keep_blank_values=True)
        if parts.fragment or "\0" in unquote(parts.path):
            raise ValueError("a part that no client reads")  # noqa: TRY301 - as below
    except ValueError:
        # Its text may hold a part of the password.
        raise BadValue(
            "cannot be read: write / : @ # ? % in a password as %2F %3A %40 %23 %3F"
            " %25, # ? % in a path likewise, and a port up to 65535"
        ) from None
    if parts.scheme == "unix" and (has_host or not parts.path.strip("/")):
        raise BadValue("must be unix:///path/to/socket or unix://:password@/path…")
    databases = options.pop("db", [])
    if parts.scheme != "unix":
        databases += filter(None, [parts.path.strip("/")])
    if not all(each.isascii() and each.isdigit() for each in databases):
        raise BadValue("must give db as a number, such as ?db=0")
    if not all(option.startswith("ssl_") for option in options):
        # Others are the client's own, and we rely on how those are set.
        raise BadValue("must have no options but db and ssl_…, such as ssl_ca_certs")
    return Secret(text)


def storage_url(text: str) -> str:
    """Return ``text`` if it is the URL of an absolute folder, or of a bucket."""
    if text.startswith("s3://"):
        if not _BUCKET_URL.fullmatch(text) or ".." in text:
            raise BadValue(f"must be s3://bucket/prefix, not {text!r}")
        return text.rstrip("/")
    folder = storage_folder(text)
    if not text.startswith("file:///") or ".." in folder.parts or "\0" in str(folder):
        raise BadValue(f"must be file:///folder or s3://bucket/prefix, not {text!r}")
    return text


def storage_bucket(url: str) -> tuple[str, str]:
    """Return the bucket and the prefix that an ``s3://`` URL names."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return bucket, prefix


def storage_folder(url: str) -> Path:
    """Return the folder that a ``file:///`` URL names."""
    return Path(unquote(url.removeprefix("file://")))
