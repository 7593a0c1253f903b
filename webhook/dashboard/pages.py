"""The routes of the pages: ask the ledger, decide nothing, render."""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from urllib.parse import quote, urlencode

from flask import (
    Blueprint,
    Response,
    jsonify,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import MethodNotAllowed, NotFound

from webhook.dashboard import signin, words
from webhook.dashboard.view import ImageView, image_view, life_views, run_view
from webhook.intake.requests import PublishRequests
from webhook.web import not_shown
from webhook.web.audience import Audience, Images
from webhook.web.login import Login
from webhook.web.present_reason import with_present_reason
from workers.config import SiteConfig
from workers.documents.quantities import iso_time
from workers.ledger import Ledger, LedgerUnavailable, State
from workers.policy import PolicyFile
from workers.reference import InvalidReference, Reference

log = logging.getLogger(__name__)

PAGE_LENGTH = 50
AT_WORK_LENGTH = 8
HISTORY_LENGTH = 25
DELIVERIES_LENGTH = 100
LONGEST_SEARCH = 300
_ASSETS = Path(__file__).parent / "static"
_ASSET_SECONDS = 365 * 86_400
# Below these, programs alone ask; below those, people with browsers as well.
_OF_PROGRAMS = frozenset({"hooks", "api", "healthz", "readyz", "metrics"})
_OF_BOTH = frozenset({"cvmfs", "queue", "badge"})


@dataclass(frozen=True, slots=True)
class Sources:
    """What the pages are made from.

    Attributes:
        ledger: deliveries.
        audience: states and history, as far as who asks may see them.
        policy: which rule decides.
        requests: where the operator's "look again" goes.
        login: knows the operator.
        ttls: seconds, by repository.
        origin: scheme, host and port by which others reach us.
        site: whom to ask.
        problems: what everybody should know is wrong, one line each.
        clock: seconds since the epoch.
    """

    ledger: Ledger
    audience: Audience
    policy: PolicyFile
    requests: PublishRequests
    login: Login
    ttls: Mapping[str, int]
    origin: str
    site: SiteConfig
    problems: Callable[[], Sequence[str]]
    clock: Callable[[], float] = time.time


def blueprint(sources: Sources) -> Blueprint:
    """Return the pages, with the operator's form among them."""
    pages = Blueprint(
        "dashboard",
        __name__,
        template_folder="templates",
        static_folder="static",
        static_url_path="/assets",
    )
    _add_home(pages, sources)
    _add_image(pages, sources)
    _add_deliveries(pages, sources)
    signin.add_routes(pages, sources.login)
    pages.after_request(sources.login.keep_form_cookie)
    pages.after_request(_cached)
    _add_template_words(pages)
    _add_errors(pages)

    @pages.app_context_processor
    def identity() -> dict[str, object]:
        return {
            "is_operator": sources.login.identity().is_operator,
            "csrf_token": sources.login.csrf_token,
        }

    return pages


def _add_home(pages: Blueprint, sources: Sources) -> None:
    @pages.get("/")
    def home() -> str:
        search = request.args.get("q", "").strip()[:LONGEST_SEARCH]
        state = _state(request.args.get("state", ""))
        page = _page_number(request.args.get("page", ""))
        seen = sources.audience.images()
        counts = seen.counts()
        offset = (page - 1) * PAGE_LENGTH
        found = seen.images(offset, PAGE_LENGTH, state=state, search=search or None)
        is_front = not (search or state or page > 1)
        running: list[ImageView] = []
        waiting: list[ImageView] = []
        if is_front:
            running, waiting = _at_work(seen, counts, sources.ttls)
        shown = {view.record.reference for view in running + waiting}
        busy = sum(counts[each] for each in (*words.RUNNING, State.QUEUED))
        query = {"q": search, "state": state or "", "offset": offset or ""}
        followed = {name: value for name, value in query.items() if value}
        return render_template(
            "dashboard/home.html",
            here="home",
            poll=f"{url_for('api.images')}?{urlencode(followed)}".rstrip("?"),
            problems=_problems(sources),
            now=sources.clock(),
            search=search,
            asked=_plausible_reference(search),
            state=state,
            states=words.STATES,
            counts=counts,
            is_front=is_front,
            running=running,
            waiting=waiting,
            more_at_work=busy - len(running) - len(waiting),
            # What is at work stands above already.
            images=[
                image_view(each, sources.ttls)
                for each in found.images
                if each.reference not in shown
            ],
            total=found.total,
            first=offset + 1,
            page=page,
            pages=ceil(found.total / PAGE_LENGTH),
        )


def _at_work(
    seen: Images, counts: Mapping[State, int], ttls: Mapping[str, int]
) -> tuple[list[ImageView], list[ImageView]]:
    """Return what runs, and what waits, each the longest first, not too many."""

    def oldest(state: State, most: int) -> list[ImageView]:
        number = min(counts[state], most)
        if number <= 0:
            return []
        page = seen.images(counts[state] - number, number, state=state)
        return [image_view(each, ttls) for each in reversed(page.images)]

    running: list[ImageView] = []
    for state in words.RUNNING:
        running += oldest(state, AT_WORK_LENGTH - len(running))
    return running, oldest(State.QUEUED, AT_WORK_LENGTH)


def _add_image(pages: Blueprint, sources: Sources) -> None:
    @pages.get("/images/<path:reference>")
    def image(reference: str) -> ResponseReturnValue:
        parsed = Reference.parse(reference)
        if str(parsed) != reference:
            return redirect(url_for("dashboard.image", reference=str(parsed)))
        seen = sources.audience.images()
        found = seen.image(reference)
        common = {
            "problems": _problems(sources),
            "now": sources.clock(),
            "reference": reference,
            "poll": url_for("api.image", reference=reference),
        }
        if found is None and not sources.audience.is_operator:
            return _not_shown(sources, parsed, common)
        decision = sources.policy.current().decide(parsed)
        common["decision"] = decision
        if found is None:
            return render_template("dashboard/unknown.html", **common), 404
        badge_path = url_for("api.badge", reference=reference)
        page_path = url_for("dashboard.image", reference=reference)
        return render_template(
            "dashboard/image.html",
            **common,
            view=image_view(with_present_reason(found, decision), sources.ttls),
            runs=[run_view(run) for run in seen.runs(reference, HISTORY_LENGTH)],
            lives=life_views(seen.lives(reference, HISTORY_LENGTH)),
            is_open=sources.audience.strangers.image(reference) is not None,
            badge_path=badge_path,
            badge_url=f"{sources.origin}{quote(badge_path, safe='/:@%')}",
            page_url=f"{sources.origin}{quote(page_path, safe='/:@%')}",
        )

    @pages.post("/images/<path:reference>")
    def ask(reference: str) -> ResponseReturnValue:
        refusal = sources.login.guard_page()
        if refusal is not None:
            return refusal
        if not signin.form_is_ours(sources.login):
            return _message("Please try again", signin.STALE_FORM, 403)
        decision = sources.requests.submit(Reference.parse(reference))
        if not decision.allowed:
            return _message("The policy refuses it", decision.reason, 403)
        here = url_for("dashboard.image", reference=decision.reference)
        return redirect(here, code=303)


def _not_shown(
    sources: Sources, reference: Reference, common: Mapping[str, object]
) -> ResponseReturnValue:
    """Answer strangers about an image that they are not shown, whatever it is."""
    page = render_template(
        "dashboard/not_shown.html",
        heading=not_shown.HEADING,
        explanation=not_shown.EXPLANATION,
        checks=not_shown.checks(reference),
        contact=not_shown.contact(sources.site),
        **common,
    )
    return page, 404


def _add_deliveries(pages: Blueprint, sources: Sources) -> None:
    @pages.get("/deliveries")
    def deliveries() -> ResponseReturnValue:
        refusal = sources.login.guard_page()
        if refusal is not None:
            return refusal
        return render_template(
            "dashboard/deliveries.html",
            here="deliveries",
            now=sources.clock(),
            problems=_problems(sources),
            deliveries=sources.ledger.deliveries(DELIVERIES_LENGTH),
        )


def _problems(sources: Sources) -> list[str]:
    rules = sources.policy.current()  # reads the file again if it has changed
    found = list(sources.problems())
    if sources.policy.problem is not None:
        # What is wrong with it may quote the file, which is not everybody's.
        is_operator = sources.login.identity().is_operator
        detail = f" {sources.policy.problem}" if is_operator else ""
        meanwhile = (
            "the last good one is in force" if rules.digest else "all is refused"
        )
        found.insert(0, f"The policy file is broken, so {meanwhile}.{detail}")
    return found


def _add_template_words(pages: Blueprint) -> None:
    digests = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        for path in _ASSETS.iterdir()
    }

    def asset(name: str) -> str:
        # The digest makes a new address of a new file, so browsers may keep the old.
        return url_for("dashboard.static", filename=name, v=digests[name])

    filters: dict[str, Callable[..., object]] = {
        "duration": words.duration,
        "exact": _exact,
        "iso": iso_time,
        "relative": words.relative,
        "seconds": words.exact_seconds,
        "short_digest": words.short_digest,
        "size": words.size,
    }
    for name, word in filters.items():
        pages.add_app_template_filter(word, name)
    pages.add_app_template_global(asset, "asset")


def _exact(moment: float) -> str:
    """Return a moment for people: ``2026-01-31 12:00:00 UTC``."""
    return (iso_time(moment) or "").replace("T", " ").replace("Z", " UTC")


def _add_errors(pages: Blueprint) -> None:
    @pages.errorhandler(InvalidReference)
    def misnamed(error: InvalidReference) -> ResponseReturnValue:
        return _message("That is not the name of an image", str(error), 400)

    @pages.errorhandler(LedgerUnavailable)
    def unavailable(error: LedgerUnavailable) -> ResponseReturnValue:
        log.error("ledger unavailable path=%r: %s", request.path, error)
        return _message(
            "The queue server does not answer",
            "What is live stays live. This page works again when the server does.",
            503,
        )

    @pages.app_errorhandler(NotFound)
    def lost(_error: NotFound) -> ResponseReturnValue:
        if _is_program():
            return jsonify(error="not found"), 404
        return _message("There is nothing here", "No page of ours has this name.", 404)

    @pages.app_errorhandler(MethodNotAllowed)
    def misused(error: MethodNotAllowed) -> ResponseReturnValue:
        methods = ", ".join(sorted(error.valid_methods or ()))
        text = f"{request.method} is not for this address; it takes {methods}"
        if _is_program():
            return jsonify(error=text), 405, {"Allow": methods}
        page, code = _message("That cannot be done here", f"{text}.", 405)
        return page, code, {"Allow": methods}


def _is_program() -> bool:
    """Tell whether a program asks, which reads JSON, or a person with a browser."""
    first = request.path.split("/", 2)[1]
    if first in _OF_PROGRAMS:
        return True
    return first in _OF_BOTH and "text/html" not in request.headers.get("Accept", "")


def _message(heading: str, text: str, code: int) -> tuple[str, int]:
    page = render_template("dashboard/message.html", heading=heading, text=text)
    return page, code


def _cached(answer: Response) -> Response:
    if request.endpoint == "dashboard.static":
        answer.headers["Cache-Control"] = f"max-age={_ASSET_SECONDS}, immutable"
    else:
        # Pages hold who is logged in, and states that are old at once.
        answer.headers["Cache-Control"] = "no-store"
    return answer


def _state(text: str) -> State | None:
    return State(text) if text in set(State) else None


def _page_number(text: str) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) <= 6  # noqa: PLR2004
    return max(1, int(text)) if is_number else 1


def _plausible_reference(search: str) -> str | None:
    """Return the reference that a search that finds nothing may have meant."""
    try:
        return str(Reference.parse(search)) if search else None
    except InvalidReference:
        return None
