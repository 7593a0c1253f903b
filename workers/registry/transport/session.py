"""One registry, spoken to as one identity: challenges answered, redirects followed.

Rules for a redirect (distribution-spec "Pulling blobs"; CVE-2020-15157):

- at most five, and never from https to http;
- what is written goes only where method and body are kept (307, 308);
- ``Authorization`` goes to the registry's own origin only, and once another one was
  visited, to none;
- a challenge counts only when the registry itself makes it; another registry that it
  redirects to gets an anonymous token of its own, if it wants one (registry.k8s.io).
"""

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urljoin, urlsplit

from workers.registry.auth.access import RegistryAccess
from workers.registry.auth.challenge import (
    Challenge,
    MalformedChallenge,
    parse_challenges,
)
from workers.registry.auth.tokens import DELETE, PULL, PUSH, Authenticator
from workers.registry.transport.answers import (
    ERROR_BODY_BYTES,
    Refusal,
    RegistryProtocolError,
    as_error,
)
from workers.registry.transport.deadlines import within
from workers.registry.transport.origin import InvalidUrl, Origin
from workers.registry.transport.transport import Answer, Transport

_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEPING_REDIRECTS = frozenset({307, 308})
_UNAUTHORIZED = 401

# What another registry has, and not its storage.
_AT_A_REGISTRY = re.compile(r"/v2/(.+)/(?:manifests|blobs)/[^/]+", re.ASCII)
# A token may be a moment too young for a registry whose clock is behind (RFC 7519
# 4.1.5, nbf), or not yet everywhere. One that is for less than was asked for stays so.
_TOO_YOUNG_SECONDS = 1.5
_FOR_LESS = "insufficient_scope"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a registry.

    Attributes:
        method: of HTTP.
        path: with query, beginning with a slash.
        repository: which one it is about, for the token's scope.
        wanted: the subject of an error's message.
        headers: besides the usual ones.
        body: of what writes to the registry; None: it reads or deletes.
    """

    method: str
    path: str
    repository: str
    wanted: str
    headers: Mapping[str, str]
    body: bytes | None = None

    @property
    def actions(self) -> str:
        """What a token has to allow."""
        if self.method == "DELETE":
            return DELETE
        return PULL if self.body is None else PUSH


@dataclass(frozen=True, slots=True)
class _Reached:
    """An answer, and the URL that it is of, after redirects."""

    answer: Answer
    url: str


class RegistrySession:
    """Sends requests to one registry; safe from several threads."""

    def __init__(
        self,
        access: RegistryAccess,
        transport: Transport,
        authenticator: Authenticator,
        *,
        guest: Callable[[Origin], Authenticator],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Make a session.

        Args:
            access: how the registry is reached.
            transport: sends the requests.
            authenticator: answers the registry's challenges.
            guest: makes one without credentials, for another registry.
            now: for a ``Retry-After`` that is a date.
            sleep: waits until a token is old enough.
        """
        self.base_url = f"{access.scheme}://{access.api_host}"
        self._origin = Origin.of(self.base_url)
        self._transport = transport
        self._authenticator = authenticator
        self._guest = guest
        self._guests: dict[Origin, Authenticator] = {}
        self._now = now
        self._sleep = sleep

    def send(self, request: Request, *, accept: Collection[int]) -> Answer:
        """Return an answer whose status is in ``accept``; the caller closes it.

        Raises:
            RegistryUnavailable: nobody answers in time, or asks us to come back.
            ImageNotFound: the registry does not have it.
            AccessDenied: it refuses us.
            UntrustedRealm: it sends us to a token server that nobody vouched for.
            RegistryProtocolError: it does what no registry does.
            RefusedAddress: it, or a redirect, leads into a private network.
        """
        with within(self._transport.timeouts.request_seconds):
            return self._send(request, accept)

    def _send(self, request: Request, accept: Collection[int]) -> Answer:
        authorization = self._authenticator.known(request.repository, request.actions)
        reached = self._follow(request, authorization)
        if reached.answer.status in accept:
            return reached.answer
        refusal = self._refusal(reached)
        another = self._answer_challenge(refusal, request, authorization)
        if another is not None:
            authorization = another
            reached = self._follow(request, authorization)
            if self._is_too_young(reached, authorization):
                reached.answer.close()
                self._sleep(_TOO_YOUNG_SECONDS)
                reached = self._follow(request, authorization)
            if reached.answer.status in accept:
                return reached.answer
            refusal = self._refusal(reached)
        hide = self._authenticator.secrets(authorization)
        raise as_error(refusal, request.wanted, hide=hide, now=self._now())

    def _answer_challenge(
        self, refusal: Refusal, request: Request, authorization: str | None
    ) -> str | None:
        """Return what to send instead of ``authorization``; None: nothing is left."""
        if refusal.status != _UNAUTHORIZED or refusal.origin != str(self._origin):
            return None
        challenges = _challenges(refusal.headers, request)
        return self._authenticator.answer(
            challenges, request.repository, authorization, request.actions
        )

    def _is_too_young(self, reached: _Reached, authorization: str) -> bool:
        """Tell whether a token that was just given may be believed in a moment."""
        answer = reached.answer
        return (
            answer.status == _UNAUTHORIZED
            and answer.origin == self._origin
            and authorization.startswith("Bearer ")
            and _FOR_LESS not in answer.headers.get("WWW-Authenticate", "")
        )

    def _refusal(self, reached: _Reached) -> Refusal:
        with reached.answer as answer:
            is_elsewhere = answer.origin != self._origin
            return Refusal(
                answer.status,
                answer.headers,
                answer.excerpt(ERROR_BODY_BYTES),
                str(answer.origin),
                is_storage=is_elsewhere and _repository_at(reached.url) is None,
            )

    def _follow(self, request: Request, authorization: str | None) -> _Reached:
        url = f"{self.base_url}{request.path}"
        origin = self._origin
        for _ in range(_MOST_REDIRECTS + 1):
            if origin == self._origin or request.actions != PULL:
                answer = self._ask(request, url, authorization)
            else:
                answer = self._ask_elsewhere(request, url, origin)
            if answer.status not in _REDIRECTS:
                return _Reached(answer, url)
            with answer:
                is_kept = answer.status in _KEEPING_REDIRECTS
                if request.actions != PULL and not is_kept:
                    raise RegistryProtocolError(
                        f"{request.wanted}: {answer.origin} redirects what is written"
                    )
                url = _redirected(url, answer, request.wanted)
                answer.excerpt(ERROR_BODY_BYTES)  # so that the connection is kept
            if Origin.of(url) != origin:
                origin, authorization = Origin.of(url), None
        raise RegistryProtocolError(
            f"{request.wanted}: {self._origin} redirects more than "
            f"{_MOST_REDIRECTS} times"
        )

    def _ask(
        self, request: Request, url: str, authorization: str | None = None
    ) -> Answer:
        headers = dict(request.headers)
        if authorization is not None:
            headers["Authorization"] = authorization
        return self._transport.send(request.method, url, headers, request.body)

    def _ask_elsewhere(self, request: Request, url: str, origin: Origin) -> Answer:
        """Ask where the registry has sent us; as nobody, if that is a registry too."""
        repository = _repository_at(url)
        if repository is None:
            return self._ask(request, url)
        guest = self._guests.get(origin)
        authorization = None if guest is None else guest.known(repository)
        answer = self._ask(request, url, authorization)
        if answer.status != _UNAUTHORIZED:
            return answer
        guest = guest or self._guests.setdefault(origin, self._guest(origin))
        challenges = _challenges(answer.headers, request)
        another = guest.answer(challenges, repository, authorization)
        if another is None:
            return answer
        answer.excerpt(ERROR_BODY_BYTES)
        answer.close()
        return self._ask(request, url, another)


def _repository_at(url: str) -> str | None:
    """Return the repository that a URL is about; None: it is not a registry's."""
    found = _AT_A_REGISTRY.fullmatch(urlsplit(url).path)
    return None if found is None else found[1]


def _challenges(headers: Mapping[str, str], request: Request) -> Sequence[Challenge]:
    try:
        return parse_challenges(headers.get("WWW-Authenticate", ""))
    except MalformedChallenge as error:
        raise MalformedChallenge(f"{request.wanted}: {error}") from error


def _redirected(url: str, answer: Answer, wanted: str) -> str:
    location = answer.headers.get("Location", "")
    if not location.isascii() or not location.isprintable() or not location:
        raise RegistryProtocolError(
            f"{wanted}: {answer.origin} redirects without a usable Location"
        )
    try:
        target = urljoin(url, location)
        origin = Origin.of(target)
    except (ValueError, InvalidUrl) as error:
        raise RegistryProtocolError(
            f"{wanted}: {answer.origin} redirects to what is no web address"
        ) from error
    if answer.origin.scheme == "https" and origin.scheme != "https":
        raise RegistryProtocolError(
            f"{wanted}: {answer.origin} redirects to {origin}, away from TLS"
        )
    return target
