"""Who the operator is: tokens, sessions, and the guards in front of what is theirs.

A program sends ``Authorization: Bearer <token>``. A person types the same token into a
form once and gets Flask's signed session cookie, which every receiver process knows.
The keys are derived from the tokens, and a session names the token that opened it: take
that out of the configuration and its sessions end. Logging out ends a session for every
copy of its cookie.

This module decides and sets cookies. The form itself is a page and stands with the
pages. Nothing here depends on the rest of the front.
"""

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from flask import Flask, Response, g, jsonify, redirect, request, session, url_for
from flask.sessions import SecureCookieSessionInterface

from webhook.web.attempts import Attempts
from workers.config import Secret
from workers.ledger import EndedSessions

log = logging.getLogger(__name__)

SESSION_SECONDS = 12 * 3600
# A login form left open overnight is still a form of ours, but no longer than that.
FORM_SECONDS = 24 * 3600
FORM_COOKIE_LENGTH = 32
LOGIN_ENDPOINT = "dashboard.login_form"
_SESSION_ID, _OPENED_BY = "id", "by"


class Identity(NamedTuple):
    """Who asks: nobody, the operator by token, or the operator by cookie."""

    kind: Literal["anonymous", "token", "session"]
    wait_seconds: int = 0  # this address has guessed wrong too often

    @property
    def is_operator(self) -> bool:
        """Whether the operator's pages and verbs are open to them."""
        return self.kind != "anonymous"


class Login:
    """The operator's tokens and what they open.

    Args:
        tokens: any of them is the operator's; none: nobody can log in.
        https: whether people reach us by https; cookies are then never sent without.
        cookie_path: below which our pages are; others on the same host get no cookies.
        ended: which sessions were ended before their time.
        session_seconds: how long a login lasts.
        attempts: the book of wrong guesses.
    """

    def __init__(
        self,
        tokens: Sequence[Secret],
        *,
        https: bool,
        cookie_path: str = "/",
        ended: EndedSessions,
        session_seconds: int = SESSION_SECONDS,
        attempts: Attempts | None = None,
    ) -> None:
        self._tokens = tuple(_digest(token.reveal()) for token in tokens)
        self._keys = tuple(_session_key(token) for token in tokens)
        self._ended = ended
        self._session_seconds = session_seconds
        self._attempts = attempts or Attempts(clock=time.monotonic)
        self._https = https
        self._cookie_path = cookie_path
        # Browsers accept a cookie with the first of these only over https, for one
        # host, and with path /, so that no neighbouring host can plant one; with the
        # second over https.
        secure = "__Host-" if cookie_path == "/" else "__Secure-"
        prefix = secure if https else ""
        self.session_cookie = f"{prefix}cvmfs_webhook_session"
        self.form_cookie = f"{prefix}cvmfs_webhook_form"

    def init_app(self, app: Flask) -> None:
        """Let the application sign sessions with our keys."""
        key, *fallbacks = self._keys or (None,)
        app.session_interface = _Sessions()
        app.config.update(
            SECRET_KEY=key,
            SECRET_KEY_FALLBACKS=fallbacks,
            SESSION_COOKIE_NAME=self.session_cookie,
            SESSION_COOKIE_PATH=self._cookie_path,
            SESSION_COOKIE_SECURE=self._https,
            SESSION_COOKIE_HTTPONLY=True,
            SESSION_COOKIE_SAMESITE="Strict",
            SESSION_REFRESH_EACH_REQUEST=False,
            PERMANENT_SESSION_LIFETIME=timedelta(seconds=self._session_seconds),
        )

    @property
    def is_possible(self) -> bool:
        """Whether there is any token to log in with."""
        return bool(self._tokens)

    def identity(self) -> Identity:
        """Return who sent the current request; looked up once for each request."""
        if "operator_identity" not in g:
            g.operator_identity = self._identify()
        found: Identity = g.operator_identity
        return found

    def _identify(self) -> Identity:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            wait = self.try_token(token.strip())
            return Identity("token") if wait is None else Identity("anonymous", wait)
        if self._has_session():
            return Identity("session")
        return Identity("anonymous")

    def try_token(self, token: str) -> int | None:
        """Compare ``token``; one that is right never waits for others that are wrong.

        Returns:
            None: it is right. Else the seconds to wait before the next try, 0 for none.
        """
        if self._token_number(token) is not None:
            return None
        address = request.remote_addr or ""
        wait = self._attempts.seconds_to_wait(address)
        if wait:
            return wait
        self._attempts.failed(address)
        log.warning("login refused address=%s path=%r", address, request.path)
        return 0

    def _token_number(self, token: str) -> int | None:
        """Return which of our tokens this is, in a time that does not tell."""
        given = _digest(token)
        found = None
        for number, known in enumerate(self._tokens):
            # Hashes are of one length and bytes: compare_digest raises on other text.
            if hmac.compare_digest(given, known):
                found = number
        return found

    def _has_session(self) -> bool:
        """Whether the request comes with a session that one of our tokens opened."""
        name, opened_by = session.get(_SESSION_ID), session.get(_OPENED_BY)
        is_ours = any(
            hmac.compare_digest(str(opened_by), _fingerprint(key)) for key in self._keys
        )
        return is_ours and name is not None and not self._ended.has_ended(str(name))

    def open_session(self, token: str) -> None:
        """Begin a session, opened with a token that was right.

        One that this browser had before ends: nobody could log out of it any more.

        Raises:
            LedgerUnavailable: that cannot be ended now.
        """
        number = self._token_number(token)
        if number is None:
            raise ValueError("a session can only be opened with one of our tokens")
        self.close_session()
        session.permanent = True
        session[_SESSION_ID] = secrets.token_urlsafe(16)
        session[_OPENED_BY] = _fingerprint(self._keys[number])

    def close_session(self) -> None:
        """End the session for every copy of its cookie, and take the cookie back.

        Raises:
            LedgerUnavailable: it cannot be ended now.
        """
        if name := session.get(_SESSION_ID):
            self._ended.end(str(name), seconds=self._session_seconds)
        session.clear()

    def csrf_token(self) -> str:
        """Return what a form of this browser must carry; see ``check_form``.

        It is a hash of a cookie that no other site can read or send along. No key of
        ours is in it: whoever is not logged in gets one too, and it must not be a way
        to try tokens offline.
        """
        return hashlib.sha256(b"form " + self._browser_secret().encode()).hexdigest()

    def _browser_secret(self) -> str:
        """Return the cookie that a form is bound to, made when there is none."""
        if self.identity().kind == "session":
            return str(session[_SESSION_ID])
        if "new_form_cookie" not in g:
            known: str = request.cookies.get(self.form_cookie, "")
            if len(known) >= FORM_COOKIE_LENGTH:
                return known
            g.new_form_cookie = secrets.token_urlsafe(FORM_COOKIE_LENGTH)
        made: str = g.new_form_cookie
        return made

    def check_form(self, token: str) -> bool:
        """Whether a form that came in is one that we gave to this very browser.

        A program that sends its token needs no proof: no browser adds that header by
        itself.
        """
        if self.identity().kind == "token":
            return True
        return hmac.compare_digest(_digest(self.csrf_token()), _digest(token))

    def keep_form_cookie(self, response: Response) -> Response:
        """Send the cookie that a form on this page is bound to, if it is a new one."""
        if "new_form_cookie" in g:
            self._set_cookie(
                response, self.form_cookie, g.new_form_cookie, FORM_SECONDS
            )
        return response

    def _set_cookie(
        self, response: Response, name: str, value: str, seconds: int
    ) -> None:
        response.set_cookie(
            name,
            value,
            max_age=seconds,
            path=self._cookie_path,
            httponly=True,
            samesite="Strict",
            secure=self._https or request.is_secure,
        )

    def guard_page(self) -> Response | None:
        """Send whoever is not the operator to the form; for ``before_request``."""
        who = self.identity()
        if who.is_operator:
            return None
        if request.method not in {"GET", "HEAD"}:
            return self._refusal(who)
        here = request.script_root + request.full_path.rstrip("?")
        # redirect() is typed for Werkzeug's response, of which Flask's is a kind.
        return redirect(url_for(LOGIN_ENDPOINT, next=here))  # type: ignore[return-value]

    def guard_json(self) -> Response | None:
        """Refuse whoever is not the operator; for ``before_request``."""
        who = self.identity()
        return None if who.is_operator else self._refusal(who)

    def _refusal(self, who: Identity) -> Response:
        if who.wait_seconds:
            response = jsonify(error="too many wrong tokens from your address")
            response.status_code = 429
            response.headers["Retry-After"] = str(who.wait_seconds)
        else:
            response = jsonify(
                error="this needs the operator: send Authorization: Bearer <token>"
            )
            response.status_code = 401
            response.headers["WWW-Authenticate"] = 'Bearer realm="cvmfs-webhook"'
        response.headers["Cache-Control"] = "no-store"
        return response


class _Sessions(SecureCookieSessionInterface):
    """Flask's, whose cookie is never sent in clear once it came over https."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return super().get_cookie_secure(app) or request.is_secure


def local_path(target: str, default: str) -> str:
    """Return ``target`` if it leads to a page of ours, else ``default``.

    Browsers read ``//host``, the same with a backslash, and names with tabs in them as
    other sites.
    """
    is_plain = target.isascii() and target.isprintable() and "\\" not in target
    if not is_plain or not target.startswith("/") or target.startswith("//"):
        return default
    try:
        parts = urlsplit(target)
    except ValueError:
        return default
    return default if parts.scheme or parts.netloc else target


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _session_key(token: Secret) -> bytes:
    """Return what signs the cookies of sessions while this is our first token."""
    key = hmac.new(token.reveal().encode(), b"cvmfs-webhook session 2", "sha256")
    return key.digest()


def _fingerprint(session_key: bytes) -> str:
    """Return what a session says of the token that opened it; it gives nothing away."""
    return hmac.new(session_key, b"opened by", "sha256").hexdigest()[:16]
