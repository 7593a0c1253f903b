"""What GitLab adds to the events of Distribution."""

from tests.support.harness.notifications import event, read


def test_a_rename_of_gitlab_is_read() -> None:
    rename = {"type": "name", "from": "a/b", "to": "a/c"}
    (one,) = read("gitlab", {"events": [event(action="rename", rename=rename)]})
    assert one.action == "rename"


def test_the_token_that_gitlab_puts_beside_the_actor_is_never_kept() -> None:
    jwt = "eyJhbGciOiJSUzI1NiJ9.c2VjcmV0"
    actor = {"name": "ci", "user_type": "build", "user": jwt}
    (one,) = read("gitlab", {"events": [event(actor=actor)]})
    assert one.actor == "ci"
    assert jwt not in repr(one)
    for broken in (jwt, [jwt], {"name": [jwt]}, {"name": {"user": jwt}}):
        (one,) = read("gitlab", {"events": [event(actor=broken)]})
        assert one.problem is not None
        assert jwt not in repr(one)
