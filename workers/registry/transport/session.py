"""One registry, spoken to as one identity: challenges answered, redirects followed.

Rules for a redirect (distribution-spec "Pulling blobs"; CVE-2020-15157):

- at most five, and never from https to http;
- what is written goes only where method and body are kept (307, 308);
- ``Authorization`` goes to the registry's own origin only, and once another one was
  visited, to none;
- a challenge counts only when the registry itself makes it.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urljoin

from workers.registry.auth.access import RegistryAccess
from workers.registry.auth.challenge import MalformedChallenge, parse_challenges
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


class RegistrySession:
    """Sends requests to one registry; safe from several threads."""

    def __init__(
        self,
        access: RegistryAccess,
        transport: Transport,
        authenticator: Authenticator,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.base_url = f"{access.scheme}://{access.api_host}"
        self._origin = Origin.of(self.base_url)
        self._transport = transport
        self._authenticator = authenticator
        self._now = now

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
        answer = self._follow(request, authorization)
        if answer.status in accept:
            return answer
        refusal = self._refusal(answer)
        another = self._answer_challenge(refusal, request, authorization)
        if another is not None:
            authorization = another
            answer = self._follow(request, authorization)
            if answer.status in accept:
                return answer
            refusal = self._refusal(answer)
        hide = self._authenticator.secrets(authorization)
        raise as_error(refusal, request.wanted, hide=hide, now=self._now())

    def _answer_challenge(
        self, refusal: Refusal, request: Request, authorization: str | None
    ) -> str | None:
        """Return what to send instead of ``authorization``; None: nothing is left."""
        if refusal.status != _UNAUTHORIZED or refusal.is_storage:
            return None
        try:
            challenges = parse_challenges(refusal.headers.get("WWW-Authenticate", ""))
        except MalformedChallenge as error:
            raise MalformedChallenge(f"{request.wanted}: {error}") from error
        return self._authenticator.answer(
            challenges, request.repository, authorization, request.actions
        )

    def _refusal(self, answer: Answer) -> Refusal:
        with answer:
            return Refusal(
                answer.status,
                answer.headers,
                answer.excerpt(ERROR_BODY_BYTES),
                str(answer.origin),
                is_storage=answer.origin != self._origin,
            )

    def _follow(self, request: Request, authorization: str | None) -> Answer:
        url = f"{self.base_url}{request.path}"
        origin = self._origin
        for _ in range(_MOST_REDIRECTS + 1):
            headers = dict(request.headers)
            if authorization is not None:
                headers["Authorization"] = authorization
            answer = self._transport.send(request.method, url, headers, request.body)
            if answer.status not in _REDIRECTS:
                return answer
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
