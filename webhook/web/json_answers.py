"""JSON as the routes of the API answer and read it."""

import json

from flask import Response, abort, jsonify, request

from webhook.web.image_json import Json
from webhook.web.login import Login

LONGEST_BODY = 16_384


def error_answer(code: int, line: str) -> Response:
    """Return an error, one line that names the thing and the mend."""
    answer = jsonify(error=" ".join(line.split()))
    answer.status_code = code
    answer.headers["Cache-Control"] = "no-store"
    return answer


def fresh(content: Json) -> Response:
    """Return an answer that nobody keeps."""
    answer = jsonify(content)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def json_body(mend: str) -> Json:
    """Read the body, a JSON object; ``mend`` says what to send."""
    if request.mimetype != "application/json":
        abort(415, "send application/json")
    request.max_content_length = LONGEST_BODY
    try:
        content = json.loads(request.get_data())
    except (ValueError, RecursionError):
        abort(400, f"the body is not JSON; {mend}")
    if not isinstance(content, dict):
        abort(400, mend)
    return content


def check_session(login: Login) -> None:
    """Refuse what another site has made an operator's browser send."""
    if not login.check_form(request.headers.get("X-CSRF-Token", "")):
        abort(403, "a session needs the X-CSRF-Token of one of its pages")
