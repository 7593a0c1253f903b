"""How a registry's challenge is answered, and with what.

The registry names the token server (*realm*), so whoever speaks for the registry could
send our password anywhere. Before a byte is sent to a realm it must be https, or the
registry itself is plain HTTP by configuration, and at the registry's own host or at one
that the operator named for this registry. Nothing there is followed, little is read.

Read first: distribution ``docs/content/spec/auth/token.md``; RFC 7617 (Basic).
"""

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from workers.errors import Hindrance
from workers.registry.auth.access import Credentials, RegistryAccess
from workers.registry.auth.challenge import Challenge
from workers.registry.transport.answers import (
    ERROR_BODY_BYTES,
    AccessDenied,
    ImageNotFound,
    Refusal,
    RegistryProtocolError,
    as_error,
)
from workers.registry.transport.origin import (
    DEFAULT_PORTS,
    InvalidUrl,
    Origin,
    host_and_port,
)
from workers.registry.transport.transport import Transport

_TOKEN_ANSWER_BYTES = 65536
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}", re.ASCII)
_REPOSITORY_SCOPE = "repository:"
PULL, PUSH, DELETE = "pull", "pull,push", "pull,push,delete"
_ACTIONS = frozenset({"pull", "push", "delete", "*"})

# The specification: absent means 60, and no token lives for less.
_LEAST_SECONDS = 60
# A token is given up before the server thinks so: clocks differ, requests take time.
_MARGIN_SECONDS = 10
_MOST_SECONDS = 3600
_MOST_TOKENS = 1024

_OK = 200
_REDIRECTS = range(300, 400)


class UntrustedRealm(Hindrance):
    """A registry that sends us to a token server which nobody vouched for."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """What a token is good for; two that differ in any part are never exchanged."""

    registry: str
    realm: str
    service: str
    scope: str
    credentials: Credentials | None


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    expires: float


class TokenCache:
    """Tokens that still live; safe from several threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tokens: dict[TokenKey, _Token] = {}
        self._lock = threading.Lock()

    def get(self, key: TokenKey) -> str | None:
        """Return the token for ``key``, if there is one that lives."""
        with self._lock:
            token = self._tokens.get(key)
            if token is None or token.expires <= self._clock():
                return None
            return token.text

    def put(self, key: TokenKey, text: str, lifetime_seconds: float) -> None:
        """Keep a token for most of its life."""
        lifetime = min(max(lifetime_seconds, _LEAST_SECONDS), _MOST_SECONDS)
        now = self._clock()
        with self._lock:
            if len(self._tokens) >= _MOST_TOKENS:
                alive = {k: t for k, t in self._tokens.items() if t.expires > now}
                self._tokens = alive if len(alive) < _MOST_TOKENS else {}
            self._tokens[key] = _Token(text, now + lifetime - _MARGIN_SECONDS)


def trusted_realm(realm: str, access: RegistryAccess) -> str:
    """Return ``realm`` if a token, and our password, may be asked for there.

    The registry's own host may use its own port or the scheme's: a GitLab answers for
    its registry on another port.

    Raises:
        UntrustedRealm: naming what to configure if the realm is right.
    """
    try:
        origin = Origin.of(realm)
    except InvalidUrl as error:
        raise UntrustedRealm(
            f"registry {access.host} names a token server that is no URL: {error}"
        ) from error
    if origin.scheme != "https" and not access.plain_http:
        raise UntrustedRealm(
            f"registry {access.host} names the token server {origin}: https is needed"
        )
    default_port = DEFAULT_PORTS[origin.scheme]
    own_host, own_port = host_and_port(access.api_host)
    if origin.host == own_host and origin.port in {own_port, default_port}:
        return realm
    for trusted in access.trusted_token_hosts:
        host, port = host_and_port(trusted)
        if (origin.host, origin.port) == (host, port or default_port):
            return realm
    raise UntrustedRealm(
        f"registry {access.host} names the token server {origin}: if that is right, "
        f"add {str(origin).partition('://')[2]} to its token_hosts in the configuration"
    )


class Authenticator:
    """Answers the challenges of one registry, as one identity."""

    def __init__(
        self,
        access: RegistryAccess,
        credentials: Callable[[], Credentials | None],
        transport: Transport,
        cache: TokenCache,
    ) -> None:
        """Make an authenticator.

        Args:
            access: the registry.
            credentials: asked each time, as they may be renewed; without, it is
                anonymous, whatever ``access`` has.
            transport: what asks the token server.
            cache: may be shared between registries and identities.
        """
        self._access = access
        self._credentials = credentials
        self._transport = transport
        self._cache = cache
        # By repository and actions, what the last challenge asked for.
        self._keys: dict[tuple[str, str], TokenKey | None] = {}
        self._lock = threading.Lock()

    def known(self, repository: str, actions: str = PULL) -> str | None:
        """Return an ``Authorization`` that should do without a challenge first."""
        if (repository, actions) not in self._keys:
            return None
        key = self._keys[repository, actions]
        if key is None:
            return _basic(self._credentials())
        token = self._cache.get(key)
        return None if token is None else f"Bearer {token}"

    def answer(
        self,
        challenges: Sequence[Challenge],
        repository: str,
        refused: str | None,
        actions: str = PULL,
    ) -> str | None:
        """Return an ``Authorization`` that answers one of ``challenges``.

        Args:
            challenges: as the registry sent them.
            repository: what the request is about.
            refused: what was just sent in vain; not returned again.
            actions: what the request does, ``PULL``, ``PUSH`` or ``DELETE``.

        Returns:
            None when there is nothing left to try.

        Raises:
            UntrustedRealm: see there.
            AccessDenied: the token server refuses us.
            RegistryUnavailable: it does not answer.
            RegistryProtocolError: it gives no token that could be one.
        """
        key = self._key(challenges, repository, actions)
        if key is not None:
            # One at a time: layers fetched side by side need one token, not four.
            with self._lock:
                token = self._cache.get(key)
                if token is None or f"Bearer {token}" == refused:
                    token = self._fetch(key)
            self._keys[repository, actions] = key
            answer: str | None = f"Bearer {token}"
        elif any(each.scheme == "basic" for each in challenges):
            self._keys[repository, actions] = None
            answer = _basic(self._credentials())
        else:
            answer = None
        return None if answer == refused else answer

    def secrets(self, authorization: str | None) -> tuple[str, ...]:
        """Return what must not be quoted when the registry echoes our request."""
        sent = () if authorization is None else (authorization.partition(" ")[2],)
        credentials = self._credentials()
        if credentials is None:
            return sent
        basic = _basic(credentials) or ""
        return (*sent, basic.partition(" ")[2], credentials.password)

    def _key(
        self, challenges: Sequence[Challenge], repository: str, actions: str
    ) -> TokenKey | None:
        """Return what token is wanted; None: none is.

        Of several that name token servers the first that can be asked counts.
        """
        untrusted: UntrustedRealm | None = None
        for challenge in challenges:
            if challenge.scheme != "bearer":
                continue
            try:
                return self._key_for(challenge, repository, actions)
            except UntrustedRealm as error:
                untrusted = untrusted or error
        if untrusted is not None and not any(c.scheme == "basic" for c in challenges):
            raise untrusted
        return None

    def _key_for(self, challenge: Challenge, repository: str, actions: str) -> TokenKey:
        realm = trusted_realm(challenge.parameters.get("realm", ""), self._access)
        scope = challenge.parameters.get("scope", _REPOSITORY_SCOPE)
        if scope.startswith(_REPOSITORY_SCOPE):
            # No more than we need, whatever the registry would have us ask for. Other
            # forms are a registry's own (``aws`` at public.ecr.aws).
            own = f"{_REPOSITORY_SCOPE}{repository}:"
            scope = own + _allowing(scope.removeprefix(own), actions)
        return TokenKey(
            self._access.host,
            realm,
            challenge.parameters.get("service", ""),
            scope,
            self._credentials(),
        )

    def _fetch(self, key: TokenKey) -> str:
        authorization = _basic(key.credentials)
        headers = {} if authorization is None else {"Authorization": authorization}
        with self._transport.send("GET", _token_url(key), headers) as answer:
            subject = f"token for {key.registry}"
            if answer.status in _REDIRECTS:
                raise RegistryProtocolError(
                    f"{subject}: {answer.origin} redirects elsewhere, which is not "
                    "followed with credentials"
                )
            if answer.status != _OK:
                refusal = Refusal(
                    answer.status,
                    answer.headers,
                    answer.excerpt(ERROR_BODY_BYTES),
                    str(answer.origin),
                )
                hide = self.secrets(authorization)
                error = as_error(refusal, subject, hide=hide, now=datetime.now(UTC))
                if isinstance(error, ImageNotFound):
                    # Of the repository in the scope, which we may just not see.
                    raise AccessDenied(str(error))
                raise error
            body = answer.body(_TOKEN_ANSWER_BYTES, subject)
            text, lifetime = _parse_token(body, subject)
        self._cache.put(key, text, lifetime)
        return text


def _basic(credentials: Credentials | None) -> str | None:
    if credentials is None:
        return None
    pair = f"{credentials.username}:{credentials.password}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _allowing(named: str, actions: str) -> str:
    """Return the actions to ask a token for.

    No specification says what deleting needs: Distribution wants ``delete`` and once
    wanted ``*``, Quay wants ``push`` and its token server answers 400 to a scope that
    has ``delete``. So for deleting the registry's own word counts.

    Args:
        named: what the challenge would have us ask for, in our own repository; anything
            else is not believed.
        actions: what the request does.
    """
    is_more = named != PULL and _ACTIONS.issuperset(named.split(","))
    return named if actions == DELETE and is_more else actions


def _token_url(key: TokenKey) -> str:
    parts = urlsplit(key.realm)
    query = parse_qsl(parts.query, keep_blank_values=True)
    if key.service:
        query.append(("service", key.service))
    query.append(("scope", key.scope))
    return urlunsplit(parts._replace(query=urlencode(query), fragment=""))


def _parse_token(body: bytes, subject: str) -> tuple[str, float]:
    """Return a token server's token and its lifetime in seconds."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RegistryProtocolError(f"{subject}: the answer is not JSON") from error
    if not isinstance(document, dict):
        raise RegistryProtocolError(f"{subject}: the answer is not a JSON object")
    text = document.get("token") or document.get("access_token")
    if not isinstance(text, str) or not _TOKEN.fullmatch(text):
        raise RegistryProtocolError(f"{subject}: the answer has no usable token")
    seconds = document.get("expires_in", _LEAST_SECONDS)
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        seconds = _LEAST_SECONDS
    return text, seconds
