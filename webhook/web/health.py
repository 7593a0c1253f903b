"""``/healthz``: the process answers. ``/readyz``: what is accepted now is kept.

Both are open: whoever probes has no token. They say what is wrong, but no address, no
path and nothing out of a file; the log and the operator's pages have those.
"""

from collections.abc import Callable, Mapping, Sequence

from flask import Blueprint, Response, jsonify

from workers.care.queue_standing import QueueStanding
from workers.ledger import Ledger
from workers.policy import PolicyFile


def blueprint(
    *,
    ledger: Ledger,
    policy: PolicyFile,
    is_durability_trusted: bool,
    standing: QueueStanding,
    has_expired: Callable[[], bool] = lambda: False,
    went_back: Callable[[], bool] = lambda: False,
    warnings: Callable[[], Sequence[str]] = tuple,
) -> Blueprint:
    """Return both routes.

    Args:
        ledger: asked at each probe.
        policy: read again at each probe, if it has changed.
        is_durability_trusted: the operator answers for Redis (``queue.durability``).
        standing: knows who is missed.
        has_expired: whether some whitelist has; what is accepted then waits.
        went_back: whether the head of some repository did; the same.
        warnings: what does not keep us from accepting, one line each.
    """
    pages = Blueprint("health", __name__)

    @pages.get("/healthz")
    def healthz() -> Response:
        return _answer({"status": "ok"}, 200)

    @pages.get("/readyz")
    def readyz() -> Response:
        checks = {"redis": "ok", "durability": "ok", "policy": "ok"}
        is_ready = True
        # What a notification needs is a write, which a server that answers may refuse.
        refusal = ledger.write_problem()
        if refusal is not None:
            checks |= {"redis": refusal, "durability": "not known"}
            is_ready = False
        elif not is_durability_trusted:
            problem = ledger.durability_problem()
            checks["durability"] = problem or "ok"
            is_ready = problem is None
        # Renewed later, everything goes on; so there is no reason to accept nothing.
        expired = "expired: nothing is published until it is renewed"
        checks["whitelists"] = expired if has_expired() else "ok"
        older = "older than what is known: nothing is published until that is settled"
        checks["repositories"] = older if went_back() else "ok"
        rules = policy.current()
        if policy.problem is not None and rules.digest:
            # A file that was broken by hand leaves the old policy in force, and us at
            # work: to turn every notification away would be the greater harm.
            checks["policy"] = "broken; the last good one is in force"
        elif policy.problem is not None:
            checks["policy"] = "cannot be used, so nothing is allowed"
            is_ready = False
        # Whatever is wrong although what is accepted is kept.
        wrong = [f"{name}: {said}" for name, said in checks.items() if said != "ok"]
        wrong += standing.warnings().values() if is_ready else ()
        content = {
            "status": "ready" if is_ready else "not ready",
            "checks": checks,
            "warnings": [*wrong, *warnings()] if is_ready else [],
        }
        return _answer(content, 200 if is_ready else 503)

    return pages


def _answer(content: Mapping[str, object], code: int) -> Response:
    answer = jsonify(content)
    answer.status_code = code
    answer.headers["Cache-Control"] = "no-store"
    return answer
