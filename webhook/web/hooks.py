"""``POST /hooks/<source>[/<secret>]``: where senders knock.

In this order: who it is, the body's bound, the content type, JSON, schema, events,
policy, ledger. Until a sender has proved itself nothing of the body is read, and
whatever is wrong has one and the same answer. Afterwards whatever is wrong is on
record, and refused so that the sender goes on to its next event.

One line is logged for each request, and it is the only log of them: the path may hold a
secret, so gunicorn's own access log stays off, and no line of ours has the path, nor
the name of a source that does not exist, which may be a secret in the wrong place.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from flask import Blueprint, Request, Response, jsonify, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from webhook.intake.intake import DeliveryAnswer, ImageAnswer, Intake, NotKept
from webhook.senders import SENDERS, IncomingRequest, Sender
from webhook.senders.event import PushEvent
from webhook.senders.notification import (
    TooLargeNotification,
    UnreadableNotification,
    largest_bytes,
    read_notification,
)
from webhook.senders.sender import Reaction
from workers.config import Limits, SourceConfig
from workers.ledger import Verdict

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 5
_FIRST_ERROR = 400
_PREFIX = "/hooks/"


@dataclass(frozen=True, slots=True)
class _Outcome:
    """An answer, and what the log says of it."""

    response: Response
    outcome: str
    source: str = "-"
    delivery: str = "-"
    reason: str = "-"


@dataclass(frozen=True, slots=True)
class _Hooks:
    """What the route needs.

    Attributes:
        sources: by name.
        limits: bounds on a notification.
        intake: takes the events.
    """

    sources: Mapping[str, SourceConfig]
    limits: Limits
    intake: Intake

    def answer(self, request: Request, rest: str) -> _Outcome:
        """Return the answer to a request for ``/hooks/<rest>``."""
        headers = {key.lower(): value for key, value in request.headers.items()}
        knock = _knock(self.sources, rest, headers)
        if knock.sender is None or knock.source is None:
            return _Outcome(_not_found(), knock.why_not, knock.name)
        try:
            events = self._events(request, knock.sender, knock.source)
        except UnreadableNotification as exc:
            return self._refuse(request, exc, knock.sender, knock.source)
        return self._accept(request, events, knock.source)

    def _events(
        self, request: Request, sender: Sender, source: SourceConfig
    ) -> list[PushEvent]:
        body = _body(request, largest_bytes(sender, self.limits))
        _check_type(request, sender)
        try:
            return read_notification(body, sender, source, self.limits)
        except (UnreadableNotification, MemoryError):
            raise
        except Exception as exc:
            # Reading is pure, so the same bytes would fail again, and for ever.
            logger.exception("notification not read")
            reason = "it cannot be read for a fault of ours, which the log has"
            raise UnreadableNotification(400, reason) from exc

    def _refuse(
        self,
        request: Request,
        problem: UnreadableNotification,
        sender: Sender,
        source: SourceConfig,
    ) -> _Outcome:
        """Record and refuse what is no better when it is sent again."""
        reason = str(problem)
        status = sender.HABITS.status_of_refusal(problem.status)
        try:
            delivery = self.intake.note_unreadable(
                source.name, reason, sender=request.remote_addr
            )
        except NotKept as exc:
            if sender.HABITS.reaction(503) is Reaction.AGAIN:
                return _Outcome(_later(), "not kept", source.name, reason=str(exc))
            logger.warning("source=%s not recorded: %s", source.name, exc)
            response = _error(problem.status, reason)
            return _Outcome(response, "unreadable", source.name, reason=reason)
        response = (
            _answered(_refused(delivery, reason))
            if status == HTTPStatus.OK
            else _error(status, reason, delivery=delivery)
        )
        return _Outcome(response, "unreadable", source.name, delivery, reason)

    def _accept(
        self, request: Request, events: list[PushEvent], source: SourceConfig
    ) -> _Outcome:
        try:
            answer = self.intake.receive(
                source.name, events, sender=request.remote_addr
            )
        except NotKept as exc:
            return _Outcome(_later(), "not kept", source.name, reason=str(exc))
        outcome = "queued" if answer.is_queued else "nothing to do"
        return _Outcome(_answered(answer), outcome, source.name, answer.id)


@dataclass(frozen=True, slots=True)
class _SenderIdentity:
    """Who sends a notification, as far as can be told before its body is there.

    Attributes:
        name: of the source; ``-`` if there is none of that name.
        source: where it is the source's own sender.
        sender: likewise.
        why_not: what the log says where it is not.
    """

    name: str
    source: SourceConfig | None = None
    sender: Sender | None = None
    why_not: str = ""


def _knock(
    sources: Mapping[str, SourceConfig], rest: str, headers: Mapping[str, str]
) -> _SenderIdentity:
    """Tell who knocks at ``/hooks/<rest>``; each means is in the path or a header.

    Slashes that people put around a name when they write URLs say nothing.
    """
    name, slash, secret = rest.strip("/").partition("/")
    source = sources.get(name)
    if source is None:
        return _SenderIdentity("-", why_not="unknown source")
    sender = SENDERS[source.kind]
    incoming = IncomingRequest(headers, secret if slash else None)
    if not sender.authenticate(incoming, source):
        return _SenderIdentity(name, why_not="wrong secret")
    if not source.enabled:
        return _SenderIdentity(name, why_not="disabled")
    return _SenderIdentity(name, source, sender)


def body_bytes(
    sources: Mapping[str, SourceConfig],
    limits: Limits,
    path: str,
    headers: Mapping[str, str],
) -> int | None:
    """Return how large a body of a request is worth waiting for.

    Nothing of what a stranger sends: the answer to them does not depend on it. None: it
    is no notification.
    """
    if not path.startswith(_PREFIX):
        return None
    sender = _knock(sources, path.removeprefix(_PREFIX), headers).sender
    return 0 if sender is None else largest_bytes(sender, limits)


def blueprint(
    *, sources: Mapping[str, SourceConfig], limits: Limits, intake: Intake
) -> Blueprint:
    """Return the route of all sources.

    Args:
        sources: by name.
        limits: bounds on a notification.
        intake: takes the events.
    """
    pages = Blueprint("hooks", __name__)
    hooks = _Hooks(sources, limits, intake)

    # One rule for whatever follows, and none of the framework's own answers to OPTIONS:
    # no source can be told from another, or from none, before it is authenticated.
    @pages.route(
        "/hooks/<path:rest>", methods=["POST"], provide_automatic_options=False
    )
    def hook(rest: str) -> Response:
        return _logged(lambda: hooks.answer(request, rest))

    return pages


def _logged(answer: Callable[[], _Outcome]) -> Response:
    started = time.perf_counter()
    try:
        done = answer()
    except HTTPException:
        # The body did not come to its end.
        done = _Outcome(_error(400, "the request broke off"), "broken off")
    except Exception:
        # The framework would log the path, and with it a secret.
        logger.exception("notification failed")
        done = _Outcome(_later(), "failed")
    # Of what was taken in, the intake says a line for each reference.
    logger.log(
        logging.DEBUG if done.response.status_code < _FIRST_ERROR else logging.INFO,
        "delivery=%s source=%s outcome=%r status=%d sender=%s ms=%.1f reason=%r",
        done.delivery,
        done.source,
        done.outcome,
        done.response.status_code,
        request.remote_addr,
        1000 * (time.perf_counter() - started),
        done.reason,
    )
    return _sealed(done.response)


def _body(request: Request, largest: int) -> bytes:
    """Return the body, of which no more than needed is read."""
    # A chunked body is cut at this length without a word, so one byte more is asked
    # for than is taken: whatever reaches it was too large.
    request.max_content_length = largest + 1
    try:
        body = request.get_data(cache=False, parse_form_data=False)
    except RequestEntityTooLarge as exc:
        raise TooLargeNotification from exc
    if len(body) > largest:
        raise TooLargeNotification
    return body


def _check_type(request: Request, sender: Sender) -> None:
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise UnreadableNotification(415, "send the body without Content-Encoding")
    if request.mimetype not in sender.CONTENT_TYPES:
        types = ", ".join(sorted(sender.CONTENT_TYPES))
        raise UnreadableNotification(415, f"the content type must be one of {types}")


def _refused(delivery: str, reason: str) -> DeliveryAnswer:
    return DeliveryAnswer(delivery, (ImageAnswer(None, Verdict.REFUSED, reason),))


def _answered(answer: DeliveryAnswer) -> Response:
    response = jsonify(
        delivery=answer.id,
        images=[
            {
                "reference": image.reference,
                "decision": image.decision.value,
                "reason": image.reason,
            }
            for image in answer.images
        ],
    )
    response.status_code = 202 if answer.is_queued else 200
    return response


def _not_found() -> Response:
    return _error(404, "not found")


def _later() -> Response:
    response = _error(503, "the notification cannot be kept now; send it again later")
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _error(status: int, reason: str, **more: str) -> Response:
    response = jsonify(error=reason, **more)
    response.status_code = status
    return response


def _sealed(response: Response) -> Response:
    """Add what keeps an answer out of caches, pages and other sites' logs."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Content-Security-Policy"] = "default-src 'none'"
    return response
