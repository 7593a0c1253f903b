"""``/healthz``: the process answers. ``/readyz``: what is accepted now is kept.

Both are open: whoever probes has no token. They name what is wrong and no address.
"""

from collections.abc import Mapping

from flask import Blueprint, Response, jsonify

from workers.ledger import Ledger, LedgerUnavailable
from workers.policy import PolicyFile


def blueprint(
    *, ledger: Ledger, policy: PolicyFile, is_durability_trusted: bool
) -> Blueprint:
    """Return both routes.

    Args:
        ledger: asked at each probe.
        policy: read again at each probe, if it has changed.
        is_durability_trusted: the operator answers for Redis (``queue.durability``).
    """
    pages = Blueprint("health", __name__)

    @pages.get("/healthz")
    def healthz() -> Response:
        return _answer({"status": "ok"}, 200)

    @pages.get("/readyz")
    def readyz() -> Response:
        blocking = {
            "redis": _redis_problem(ledger),
            "durability": (
                None if is_durability_trusted else ledger.durability_problem()
            ),
            "policy": None,
        }
        is_ready = not any(blocking.values())
        rules = policy.current()
        checks = {name: problem or "ok" for name, problem in blocking.items()}
        if policy.problem is not None:
            checks["policy"] = policy.problem
            # A file that was broken by hand leaves the old policy in force, and us at
            # work: to turn every notification away would be the greater harm.
            is_ready = is_ready and bool(rules.digest)
        content = {"status": "ready" if is_ready else "not ready", "checks": checks}
        return _answer(content, 200 if is_ready else 503)

    return pages


def _redis_problem(ledger: Ledger) -> str | None:
    try:
        ledger.counts()
    except LedgerUnavailable as error:
        return str(error)
    return None


def _answer(content: Mapping[str, object], code: int) -> Response:
    answer = jsonify(content)
    answer.status_code = code
    answer.headers["Cache-Control"] = "no-store"
    return answer
