"""The JSON interface under ``/api/v1``, and the badge: thin, the ledger does the work.

Anybody may read about the images that are open to all (``audience.py``), the operator
about all of them. Deliveries, events and asking for an image are the operator's. Errors
are ``{"error": "one line"}`` with the code that fits.
"""

import logging
import re
from collections.abc import Mapping
from urllib.parse import urlencode

from flask import Blueprint, Response, abort, jsonify, request, url_for
from werkzeug.exceptions import HTTPException

from webhook.intake.requests import NeverAskedFor, NotLiveBefore, PublishRequests
from webhook.web import not_shown
from webhook.web.audience import Audience
from webhook.web.badge import badge_svg
from webhook.web.image_json import Json, event_json, image_json, live_json, run_json
from webhook.web.json_answers import check_session, error_answer, fresh, json_body
from webhook.web.login import Login
from webhook.web.present_reason import with_present_reason
from webhook.web.steering import add_steering
from workers.config import SiteConfig
from workers.documents.quantities import iso_time
from workers.ledger import DeliveryRecord, Ledger, LedgerUnavailable, State
from workers.policy import PolicyFile
from workers.reference import InvalidReference, Reference

log = logging.getLogger(__name__)

PAGE_LENGTH = 50
LONGEST_PAGE = 500
LONGEST_SEARCH = 300
LATEST_RUNS = 20
LATEST_LIVES = 20
_CURSOR = re.compile(r"[0-9]{1,19}-[0-9]{1,19}", re.ASCII)
# A route that is added and not named here is the operator's.
OPEN_TO_ALL = frozenset({"api.images", "api.image", "api.badge", "api.nothing_here"})


def blueprint(
    *,
    ledger: Ledger,
    audience: Audience,
    policy: PolicyFile,
    requests: PublishRequests,
    login: Login,
    ttls: Mapping[str, int],
    site: SiteConfig,
) -> Blueprint:
    """Return the routes of the API.

    Args:
        ledger: what the operator is answered from.
        audience: what others are answered from.
        policy: says what would become of an image that nobody pushed yet.
        requests: where requests for an image go.
        login: knows the operator.
        ttls: seconds, by repository.
        site: whom to ask.
    """
    pages = Blueprint("api", __name__)
    _add_list(pages, audience, ttls)
    _add_image(pages, audience, policy, ttls, not_shown.contact(site))
    _add_badge(pages, audience)
    _add_operators(pages, ledger, requests, login)
    add_steering(pages, requests, login)
    _add_errors(pages)
    return pages


def _add_list(pages: Blueprint, audience: Audience, ttls: Mapping[str, int]) -> None:
    @pages.get("/api/v1/images")
    def images() -> Response:
        offset = _number("offset", 0, 0, 10**9)
        limit = _number("limit", PAGE_LENGTH, 1, LONGEST_PAGE)
        seen = audience.images()
        page = seen.images(
            offset, limit, state=_state(), search=_text("q", LONGEST_SEARCH)
        )
        following = None
        if offset + limit < page.total:
            query = {**request.args, "offset": offset + limit, "limit": limit}
            following = f"{url_for('.images')}?{urlencode(query)}"
        return _revalidated(
            {
                "total": page.total,
                "offset": offset,
                "limit": limit,
                "next": following,
                "counts": {s.value: n for s, n in seen.counts().items()},
                "images": [image_json(image, ttls) for image in page.images],
            },
            audience,
        )


def _add_image(
    pages: Blueprint,
    audience: Audience,
    policy: PolicyFile,
    ttls: Mapping[str, int],
    contact: str,
) -> None:
    @pages.get("/api/v1/images/<path:reference>")
    def image(reference: str) -> Response:
        parsed = Reference.parse(reference)
        seen = audience.images()
        found = seen.image(str(parsed))
        decision = policy.current().decide(parsed)
        decided: Json = {"allowed": decision.allowed, "reason": decision.reason}
        if found is None:
            if not audience.is_operator:
                return _not_shown(parsed, contact)
            error = f"nobody has pushed {parsed} since we listen"
            answer = fresh({"error": error, "policy": decided})
            answer.status_code = 404
            return answer
        runs = seen.runs(str(parsed), LATEST_RUNS)
        lives = seen.lives(str(parsed), LATEST_LIVES)
        return _revalidated(
            {
                **image_json(with_present_reason(found, decision), ttls),
                "policy": decided,
                "runs": [run_json(run) for run in runs],
                "lives": [live_json(live) for live in lives],
            },
            audience,
        )


def _not_shown(reference: Reference, contact: str) -> Response:
    """Answer strangers about an image that they are not shown, whatever it is."""
    answer = fresh(
        {
            "error": f"there is nothing to show of {reference}",
            "explanation": not_shown.EXPLANATION,
            "check": [each._asdict() for each in not_shown.checks(reference)],
            "ask": contact,
        }
    )
    answer.status_code = 404
    return answer


def _add_badge(pages: Blueprint, audience: Audience) -> None:
    @pages.get("/badge/<path:reference>.svg")
    def badge(reference: str) -> Response:
        # Other sites' proxies keep it and show it to everybody, whoever asked.
        found = audience.strangers.image(str(Reference.parse(reference)))
        answer = Response(
            badge_svg(None if found is None else found.state),
            content_type="image/svg+xml; charset=utf-8",
        )
        # It is made to be shown on other sites, whose proxies keep pictures for hours
        # unless told otherwise.
        answer.headers["Cache-Control"] = "max-age=30"
        answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        answer.headers["Content-Security-Policy"] = "default-src 'none'"
        return answer


def _add_operators(
    pages: Blueprint, ledger: Ledger, requests: PublishRequests, login: Login
) -> None:
    @pages.get("/api/v1/deliveries")
    def deliveries() -> Response:
        found = ledger.deliveries(_number("limit", PAGE_LENGTH, 1, LONGEST_PAGE))
        return fresh({"deliveries": [_delivery_json(each) for each in found]})

    @pages.get("/api/v1/events")
    def events() -> Response:
        after = _text("after", 40)
        if after is not None and not _CURSOR.fullmatch(after):
            abort(400, "after is the cursor of an earlier answer")
        limit = _number("limit", PAGE_LENGTH, 1, LONGEST_PAGE)
        found = ledger.events(after, limit)
        return fresh(
            {
                "events": [event_json(each) for each in found],
                # Hand it back as ``after``; it stays where it is when nothing is new.
                "cursor": found[-1].id if found else after,
            }
        )

    @pages.post("/api/v1/images")
    def ask() -> Response:
        check_session(login)
        reference, forced = _asked()
        decision = requests.submit(reference, forced=forced)
        content: Json = {
            "reference": decision.reference,
            "decision": "queued" if decision.allowed else "refused",
            "reason": decision.reason,
        }
        if not decision.allowed:
            content["error"] = decision.reason
        answer = fresh(content)
        answer.status_code = 202 if decision.allowed else 403
        return answer

    @pages.before_request
    def guard() -> Response | None:
        return None if request.endpoint in OPEN_TO_ALL else login.guard_json()


def _add_errors(pages: Blueprint) -> None:
    @pages.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        return error_answer(error.code or 500, error.description or error.name)

    @pages.errorhandler(InvalidReference)
    def misnamed(error: InvalidReference) -> Response:
        return error_answer(400, str(error))

    @pages.errorhandler(NeverAskedFor)
    @pages.errorhandler(NotLiveBefore)
    def unknown(error: NeverAskedFor | NotLiveBefore) -> Response:
        return error_answer(404, str(error))

    @pages.errorhandler(LedgerUnavailable)
    def unavailable(error: LedgerUnavailable) -> Response:
        log.error("ledger unavailable path=%r: %s", request.path, error)
        answer = error_answer(503, "the queue server does not answer; try again later")
        answer.headers["Retry-After"] = "5"
        return answer

    @pages.route("/api/", defaults={"rest": ""})
    @pages.route("/api/<path:rest>")
    def nothing_here(rest: str) -> Response:
        return error_answer(404, f"there is nothing at /api/{rest[:100]}")


def _revalidated(content: Json, audience: Audience) -> Response:
    """Answer 304 to who has this already: pages look every few seconds."""
    answer = jsonify(content)
    answer.add_etag()
    # What the operator sees is kept nowhere, where somebody else could find it.
    answer.headers["Cache-Control"] = "no-store" if audience.is_operator else "no-cache"
    answer.make_conditional(request)
    return answer


def _number(name: str, default: int, least: int, most: int) -> int:
    text = request.args.get(name, "")
    if not text:
        return default
    # isdecimal alone would let the digits of every script pass.
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(most)):
        abort(400, f"{name} is a number from {least} to {most}")
    number = int(text)
    if not least <= number <= most:
        abort(400, f"{name} is a number from {least} to {most}")
    return number


def _text(name: str, longest: int) -> str | None:
    text = request.args.get(name, "").strip()
    if len(text) > longest:
        abort(400, f"{name} has at most {longest} characters")
    return text or None


def _state() -> State | None:
    text = request.args.get("state", "")
    if not text:
        return None
    try:
        return State(text)
    except ValueError:
        abort(400, f"state is one of {', '.join(State)}")


def _asked() -> tuple[Reference, bool]:
    """Read the body of a request for an image: ``{"reference": …, "force": false}``."""
    content = json_body('send {"reference": "registry/name:tag"}')
    reference = content.pop("reference", None)
    forced = content.pop("force", False)
    if content:
        abort(400, f"unknown key {min(content)[:50]!r}; send reference and force only")
    if not isinstance(reference, str) or not isinstance(forced, bool):
        abort(400, "reference is a text, and force is true or false")
    return Reference.parse(reference), forced


def _delivery_json(delivery: DeliveryRecord) -> Json:
    return {
        "id": delivery.id,
        "source": delivery.source,
        "time": iso_time(delivery.time),
        "sender": delivery.sender,
        "events": [
            {
                "reference": event.reference,
                "action": event.action,
                "digest": event.digest,
                "event_id": event.event_id,
                "actor": event.actor,
                "verdict": event.verdict.value,
                "reason": event.reason,
            }
            for event in delivery.events
        ],
    }
