"""The operator's form: a token in, a session out."""

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from webhook.web.login import Login, local_path

HOME = "dashboard.home"
LONGEST_FORM = 4096
STALE_FORM = (
    "The form was not one that this browser got from us, or it was too old."
    " Cookies have to be allowed."
)


def add_routes(pages: Blueprint, login: Login) -> None:
    """Add /login and /logout."""

    @pages.get("/login")
    def login_form() -> ResponseReturnValue:
        target = local_path(request.args.get("next", ""), url_for(HOME))
        if login.identity().is_operator:
            return redirect(target)
        return _form(login, target)

    @pages.post("/login", endpoint="login")
    def log_in() -> ResponseReturnValue:
        if not form_is_ours(login):
            return _form(login, url_for(HOME), STALE_FORM), 403
        target = local_path(request.form.get("next", ""), url_for(HOME))
        token = request.form.get("token", "").strip()
        wait = login.try_token(token)
        if wait is None:
            login.open_session(token)
            return redirect(target, code=303)
        if wait:
            error = f"Too many wrong tokens from your address. Wait {wait} seconds."
            return _form(login, target, error), 429, {"Retry-After": str(wait)}
        return _form(login, target, "That is not the operator's token."), 401

    @pages.post("/logout")
    def logout() -> ResponseReturnValue:
        if not form_is_ours(login):
            return _form(login, url_for(HOME), STALE_FORM), 403
        login.close_session()
        return redirect(url_for(HOME), code=303)


def form_is_ours(login: Login) -> bool:
    """Whether the current request is a form that we gave to this browser.

    Nothing is parsed that is long or not a plain form (multipart parsers have a past).
    """
    request.max_content_length = LONGEST_FORM
    if request.mimetype != "application/x-www-form-urlencoded":
        return False
    return login.check_form(request.form.get("csrf_token", ""))


def _form(login: Login, target: str, error: str | None = None) -> str:
    return render_template(
        "dashboard/login.html",
        here="login",
        next=target,
        error=error,
        is_possible=login.is_possible,
    )
