"""The operator's word on an image over HTTP: try again, stop, remove, go back."""

from flask import Blueprint, Response, abort

from webhook.intake.requests import PublishRequests
from webhook.web.json_answers import check_session, fresh, json_body
from webhook.web.login import Login
from workers.ledger import Verdict
from workers.reference import Reference, parse_registry

_CODES = {Verdict.QUEUED: 202, Verdict.IGNORED: 200, Verdict.REFUSED: 403}


def add_steering(pages: Blueprint, requests: PublishRequests, login: Login) -> None:
    """Add the routes; whoever calls sees to it that only the operator gets there."""

    @pages.delete("/api/v1/images/<path:reference>")
    def remove(reference: str) -> Response:
        check_session(login)
        parsed = Reference.parse(reference)
        requests.remove(parsed)
        answer = fresh({"reference": str(parsed), "decision": "queued"})
        answer.status_code = 202
        return answer

    @pages.post("/api/v1/images/<path:reference>/retry")
    def retry(reference: str) -> Response:
        check_session(login)
        wish = requests.retry(Reference.parse(reference))
        answer = fresh(
            {
                "reference": wish.decision.reference,
                "decision": wish.verdict,
                "reason": wish.reason,
            }
        )
        answer.status_code = _CODES[wish.verdict]
        return answer

    @pages.post("/api/v1/retry")
    def retry_failed() -> Response:
        check_session(login)
        mend = 'send {"failed": true}, and {"registry": "host"} for one of them'
        content = json_body(mend)
        registry = content.pop("registry", None)
        if content != {"failed": True} or not isinstance(registry, str | None):
            abort(400, mend)
        host = None if registry is None else parse_registry(registry)
        answer = fresh({"queued": requests.retry_failed(host)})
        answer.status_code = 202
        return answer

    @pages.post("/api/v1/images/<path:reference>/cancel")
    def cancel(reference: str) -> Response:
        check_session(login)
        parsed = Reference.parse(reference)
        was_owed = requests.cancel(parsed)
        return fresh({"reference": str(parsed), "cancelled": was_owed})

    @pages.post("/api/v1/images/<path:reference>/restore")
    def restore(reference: str) -> Response:
        check_session(login)
        content = json_body('send {"digest": "sha256:…"}, or {} for the one before')
        digest = content.pop("digest", None)
        if content or not isinstance(digest, str | None):
            abort(400, "send a digest, a text, or nothing for the one before")
        wish = requests.restore(Reference.parse(reference), digest)
        is_allowed = wish.decision.allowed
        answer = fresh(
            {
                "reference": wish.decision.reference,
                "decision": "queued" if is_allowed else "refused",
                "reason": wish.decision.reason,
                "digest": wish.digest,
            }
        )
        answer.status_code = 202 if is_allowed else 403
        return answer
