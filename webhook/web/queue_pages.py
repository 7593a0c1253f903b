"""``/queue/``: rq-dashboard behind the operator's login, for looking and nothing else.

RQ only carries work here, so there is nothing to delete, requeue or empty by hand: the
ledger's own verbs do that. What rq-dashboard needs (0.9, its web.py and templates):

- It reads Redis by pickle unless told otherwise, and in three places cannot be told:
  those views are ours.
- It changes things by routes without CSRF protection, one of them by GET. Only the
  endpoints named in ``READING`` are mounted; whatever else it has, now or in a later
  version, answers 403.
- It opens connections by URL and shows the URL. It gets our connection, and no URL.
- Its pages write the texts of failed jobs into HTML without escaping. They are escaped
  before it sees them, and scripts run only with the nonce of the page.
"""

import logging
import re
import secrets
from collections.abc import Callable
from enum import Enum
from importlib.metadata import version

import redis
import rq_dashboard.web
from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    current_app,
    jsonify,
    render_template,
    request,
)
from flask.sansio.app import App
from flask.typing import ResponseReturnValue, RouteCallable
from markupsafe import escape
from rq import Worker
from rq.exceptions import DeserializationError, NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker

from webhook.web.login import Login
from workers.jobqueue.tidying import take_out_unreadable_jobs

log = logging.getLogger(__name__)

NAME = "rq_dashboard"  # its templates build URLs by this name
PREFIX = "/queue"
POLL_MILLISECONDS = 5000

READING = frozenset(
    {
        "favicon",
        "job_info",
        "job_view",
        "jobs_overview",
        "list_jobs",
        "list_queues",
        "list_workers",
        "queues_overview",
        "static",
        "workers_overview",
    }
)
# Answered to scripts: a redirect to a form would be of no use to them.
_DATA = frozenset({"job_info", "list_jobs", "list_queues", "list_workers"})

# What RQ and the pages raise where somebody else has written into RQ's records.
_ODD = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    redis.ResponseError,
    DeserializationError,
)

# What its routes take as any text: some of it is written into scripts, some into int().
_ARGUMENTS = {
    "instance_number": re.compile(r"0"),  # we have one Redis
    "queue_name": re.compile(r"[A-Za-z0-9_.:-]{1,100}", re.ASCII),
    "registry_name": re.compile(
        r"queued|started|finished|failed|deferred|scheduled|canceled"
    ),
    "order": re.compile(r"asc|dsc"),
    "per_page": re.compile(r"[1-9][0-9]?|1[0-9]{2}|200", re.ASCII),
    "page": re.compile(r"[1-9][0-9]{0,6}", re.ASCII),
    "job_id": re.compile(r"[A-Za-z0-9_-]{1,200}", re.ASCII),
    "filename": re.compile(r"[A-Za-z0-9_./-]+", re.ASCII),
}

# Its templates need eval (underscore) and inline styles; scripts need the nonce.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval' 'nonce-{nonce}';"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
    " font-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
# The only script of its pages that is not a file or a template for others.
_INLINE_SCRIPT = '<script type="text/javascript">'
_BRAND = '<a class="navbar-brand">RQ-dashboard</a>'
_READ_ONLY_STYLE = """\
#compact-btn, #requeue-all-btn, #requeue-job-btn, #delete-job-btn, #empty-btn,
[data-role="requeue-job-btn"], [data-role="delete-job-btn"] { display: none !important }
"""


def blueprint(*, connection: redis.Redis, login: Login) -> Blueprint:
    """Return the pages.

    Args:
        connection: to RQ's Redis, not decoding.
        login: lets the operator in.
    """
    # rq-dashboard's own switch; a variable of its module is the only place it has.
    rq_dashboard.web.config.serializer = JSONSerializer
    pages = Blueprint(
        NAME,
        rq_dashboard.__name__,
        template_folder="templates",
        static_folder="static",
        url_prefix=PREFIX,
    )
    pages.record_once(lambda state: _prepare(state.app, connection))
    pages.context_processor(rq_dashboard.web.inject_interval)
    pages.before_request(lambda: _guard(login))
    pages.after_request(_dress)
    pages.register_error_handler(NoSuchJobError, _missing)
    pages.register_error_handler(redis.RedisError, _away)
    for kind in _ODD:
        pages.register_error_handler(kind, _unreadable)
    ours: dict[str, RouteCallable] = {
        "job_info": _job_info,
        "job_view": _job_view,
        "list_workers": _list_workers,
        "workers_overview": _workers_overview,
    }
    theirs = _their_app()
    for rule in theirs.url_map.iter_rules():
        endpoint = rule.endpoint.removeprefix(f"{NAME}.")
        if endpoint == "static":  # our blueprint serves the same folder
            continue
        if endpoint in READING:
            view = ours.get(endpoint, theirs.view_functions[rule.endpoint])
            pages.add_url_rule(
                rule.rule, endpoint, view, defaults=rule.defaults, methods=["GET"]
            )
        else:
            methods = sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
            pages.add_url_rule(rule.rule, endpoint, _refuse, methods=methods)
    pages.add_url_rule("/read-only.css", "read_only_style", _read_only_style)
    return pages


def _their_app() -> Flask:
    """Return an application that never runs, to read rq-dashboard's routes from."""
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(rq_dashboard.web.blueprint)
    return app


def _prepare(app: App, connection: redis.Redis) -> None:
    app.config["RQ_DASHBOARD_REDIS_URL"] = ("the queue of cvmfs-webhook",)
    app.config["RQ_DASHBOARD_DISABLE_DELETE"] = True
    app.config["RQ_DASHBOARD_POLL_INTERVAL"] = POLL_MILLISECONDS
    if "static" not in app.view_functions:
        # The one address that its pages ask of the application itself.
        app.add_url_rule(
            f"{PREFIX}/icon", endpoint="static", view_func=rq_dashboard.web.favicon
        )
    # Its views look for the connection there.
    app.redis_conn = connection  # type: ignore[attr-defined]


def _guard(login: Login) -> Response | None:
    endpoint = (request.endpoint or "").partition(".")[2]
    refusal = login.guard_json() if endpoint in _DATA else login.guard_page()
    if refusal is not None:
        return refusal
    for name, value in (request.view_args or {}).items():
        # No pattern, no entry: an argument that we do not know is not let through.
        pattern = _ARGUMENTS.get(name)
        is_default = value is None and endpoint == "jobs_overview"
        if not is_default and (pattern is None or not pattern.fullmatch(str(value))):
            abort(404)
    return None


def _refuse(**_: object) -> ResponseReturnValue:
    """Answer in place of everything that could change the queue."""
    return jsonify(error="the queue's pages are for reading only"), 403


def _missing(_: Exception) -> ResponseReturnValue:
    return jsonify(error="RQ has forgotten this job; its image's page knows more"), 404


def _away(error: Exception) -> ResponseReturnValue:
    log.error("queue server unavailable path=%r: %s", request.path, error)
    return jsonify(error="the queue server does not answer; try again later"), 503


def _unreadable(_: Exception) -> ResponseReturnValue:
    """Show what there is without what cannot be read.

    RQ and its pages read all or nothing, and a worker would take it out anyway.
    """
    view: Callable[..., ResponseReturnValue]
    view = current_app.view_functions[request.endpoint or ""]  # type: ignore[assignment]
    try:
        take_out_unreadable_jobs(_connection())
        shown: ResponseReturnValue = view(**(request.view_args or {}))
    except NoSuchJobError as exc:
        return _missing(exc)
    except _ODD as exc:
        log.warning("path=%s %r", request.path, exc)
        return jsonify(error="RQ holds something that is not ours to read"), 500
    return shown


def _connection() -> redis.Redis:
    found: redis.Redis = current_app.redis_conn  # type: ignore[attr-defined]
    return found


def _page(template: str, tab: str, **values: object) -> Response:
    answer = Response(
        render_template(
            f"rq_dashboard/{template}",
            current_instance=0,
            instance_list=current_app.config["RQ_DASHBOARD_REDIS_URL"],
            rq_url_prefix=f"{request.script_root}{PREFIX}/",
            rq_dashboard_version=version("rq-dashboard"),
            rq_version=version("rq"),
            active_tab=tab,
            deprecation_options_usage=False,
            enable_delete=False,
            **values,
        )
    )
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _job_view(instance_number: int, job_id: str) -> Response:
    """Show a job; theirs reads it by pickle first, only to hand its id on."""
    del instance_number
    return _page("job.html", "jobs", id=job_id)


def _workers_overview(instance_number: int) -> Response:
    """Show the workers; theirs reads them by pickle, and then does not use them."""
    del instance_number
    return _page("workers.html", "workers")


def _job_info(instance_number: int, job_id: str) -> Response:
    """Return what job.html shows; it writes each text into HTML as it is."""
    del instance_number
    job = Job.fetch(job_id, serializer=JSONSerializer, connection=_connection())
    result = job.latest_result()
    times = {
        name: rq_dashboard.web.serialize_date(getattr(job, name))
        for name in ("created_at", "enqueued_at", "started_at", "ended_at")
    }
    return _data(
        **times,
        id=job.id,
        origin=_harmless(job.origin),
        status=_harmless(job.get_status()),
        result=_harmless(job.return_value()),
        exc_info=_harmless(result.exc_string if result else None),
        description=_harmless(job.description),
        metadata=_harmless(job.get_meta() or ""),
    )


def _list_workers(instance_number: int) -> Response:
    """Return what workers.html shows."""
    del instance_number
    shown = []
    for key in sorted(Worker.all_keys(connection=_connection())):
        try:
            worker = Worker.find_by_key(key, _connection(), serializer=JSONSerializer)
            if worker is not None:
                shown.append(_worker(worker))
        except _ODD as exc:
            log.warning("worker=%s is not shown: %r", key, exc)
    return _data(workers=shown)


def _worker(worker: BaseWorker) -> dict[str, object]:
    return {
        "name": _harmless(worker.name),
        "queues": [_harmless(queue.name) for queue in worker.queues],
        "state": _harmless(worker.get_state()),
        "current_job": _current_job(worker),
        "version": _harmless(worker.version),
        "python_version": _harmless(worker.python_version),
    }


def _current_job(worker: BaseWorker) -> object:
    try:
        job = worker.get_current_job()
    except NoSuchJobError:
        job = None
    if job is None:
        return "idle"
    return {
        "job_id": job.id,
        "description": _harmless(job.description),
        "created_at": rq_dashboard.web.serialize_date(job.created_at),
        "call_string": _harmless(job.description),
    }


def _harmless(value: object) -> str:
    if isinstance(value, Enum):  # RQ's states
        value = value.value
    return "" if value is None else str(escape(str(value)))


def _data(**content: object) -> Response:
    answer = jsonify(content)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _read_only_style() -> Response:
    return Response(_READ_ONLY_STYLE, content_type="text/css; charset=utf-8")


def _dress(answer: Response) -> Response:
    """Give a page its nonce, take its buttons away, and lead back to our own pages."""
    if answer.mimetype != "text/html" or answer.direct_passthrough:
        return answer
    nonce = secrets.token_urlsafe(16)
    text = answer.get_data(as_text=True)
    text = text.replace(_INLINE_SCRIPT, f'<script nonce="{nonce}">', 1)
    ours = escape(request.script_root)
    style = f'<link rel="stylesheet" href="{ours}{PREFIX}/read-only.css"></head>'
    text = text.replace("</head>", style, 1)
    brand = f'<a class="navbar-brand" href="{ours}/">← Images</a>'
    answer.set_data(text.replace(_BRAND, brand, 1))
    policy = _CONTENT_SECURITY_POLICY.format(nonce=nonce)
    answer.headers["Content-Security-Policy"] = policy
    return answer
