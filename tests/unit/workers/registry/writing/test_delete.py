"""Taking images out of registries: out of Distribution, and out of others."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.support.images.oci import build_image, tar_of
from tests.support.registries.fake_registry import FakeRegistry
from workers.reference import Reference
from workers.registry import (
    AccessDenied,
    DeletionRefused,
    RegistryAccess,
    RegistryClient,
    RegistryProtocolError,
    RegistryUnavailable,
)

IMAGE = build_image([tar_of({"motd": b"hello"})])
OTHER = build_image([tar_of({"motd": b"bye"})])
NAME = "thin/analysis"


@contextmanager
def client_of(host: str) -> Iterator[RegistryClient]:
    access = {host: RegistryAccess(host, plain_http=True)}
    with RegistryClient(access, internal_hosts=frozenset({host})) as client:
        yield client


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """A registry with three tags, two of them of one image."""
    with FakeRegistry() as registry:
        registry.hold_image(NAME, "v1", IMAGE)
        registry.hold_image(NAME, "copy", IMAGE)
        registry.hold_image(NAME, "v2", OTHER)
        yield registry


def delete(registry: FakeRegistry, tag: str = "v1") -> None:
    with client_of(registry.host) as client:
        client.delete(Reference.parse(f"{registry.host}/{NAME}:{tag}"), IMAGE.digest)


def test_where_tags_are_deleted_nothing_else_goes(registry: FakeRegistry) -> None:
    delete(registry)
    assert registry.tags_of(NAME) == {"copy": IMAGE.digest, "v2": OTHER.digest}
    assert len(registry.seen("DELETE")) == 1


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_where_tags_are_not_deleted_the_manifest_is(
    registry: FakeRegistry, status: int
) -> None:
    registry.delete_tag(NAME, "copy")
    registry.fail("DELETE", "/manifests/v1", status=status)
    delete(registry)
    assert registry.tags_of(NAME) == {"v2": OTHER.digest}


def test_a_name_that_another_image_has_taken_stays(registry: FakeRegistry) -> None:
    delete(registry, "v2")
    assert not registry.seen("DELETE")


def test_what_is_gone_is_gone(registry: FakeRegistry) -> None:
    delete(registry, "v3")
    registry.delete_tag(NAME, "copy")
    registry.fail("DELETE", "/manifests/", status=404)
    delete(registry)
    tag, digest = registry.seen("DELETE")
    assert tag.path.endswith("/v1")
    assert digest.path.endswith(f"/{IMAGE.digest}")


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("which", ["v1", "sha256:"])
def test_who_may_not_delete_is_told_so(
    registry: FakeRegistry, status: int, which: str
) -> None:
    registry.delete_tag(NAME, "copy")
    registry.deletes = {"digest"}
    registry.fail("DELETE", f"/manifests/{which}", status=status)
    with pytest.raises(AccessDenied, match="credentials"):
        delete(registry)
    assert "v1" in registry.tags_of(NAME)


@pytest.mark.parametrize("which", ["v1", "sha256:"])
def test_what_may_pass_is_an_error_that_may(registry: FakeRegistry, which: str) -> None:
    registry.delete_tag(NAME, "copy")
    registry.deletes = {"digest"}
    for status in (429, 500, 503):
        registry.fail("DELETE", f"/manifests/{which}", status=status, times=1)
        with pytest.raises(RegistryUnavailable):
            delete(registry)
    registry.reset("DELETE", f"/manifests/{which}")
    with pytest.raises(RegistryUnavailable):
        delete(registry)
    registry.mend()
    delete(registry)
    assert "v1" not in registry.tags_of(NAME)


def test_without_a_list_of_tags_no_manifest_is_deleted(
    registry: FakeRegistry,
) -> None:
    registry.deletes = {"digest"}
    registry.fail("GET", "/tags/list", status=404)
    with pytest.raises(DeletionRefused, match="lists none"):
        delete(registry)
    assert "v1" in registry.tags_of(NAME)


def test_tags_that_vanish_or_are_no_images_do_not_matter(
    registry: FakeRegistry,
) -> None:
    registry.deletes = {"digest"}
    registry.delete_tag(NAME, "copy")
    registry.push_manifest(NAME, "a", b"{}", "application/x-something-else")
    registry.fail("HEAD", "/manifests/v2", status=404)
    delete(registry)
    assert "v1" not in registry.tags_of(NAME)


def test_a_deletion_is_not_redirected_as_if_it_read(registry: FakeRegistry) -> None:
    registry.redirect(
        "/manifests/v1", f"{registry.url}/v2/elsewhere", method="DELETE", status=302
    )
    with pytest.raises(RegistryProtocolError, match="redirects what is written"):
        delete(registry)


@pytest.mark.parametrize(
    ("named", "asked"),
    [
        ("delete", "delete"),
        ("*", "%2A"),
        ("pull,push", "pull%2Cpush"),
        ("", "pull%2Cpush%2Cdelete"),
    ],
)
def test_a_token_for_deleting_is_for_what_the_registry_says_it_needs(
    registry: FakeRegistry, named: str, asked: str
) -> None:
    registry.tokens_for_all = True
    registry.delete_scope = named
    registry.known_actions = {"pull", *(named or "push,delete").split(",")}
    delete(registry)
    assert "v1" not in registry.tags_of(NAME)
    pulling, deleting = registry.seen("GET", "^/token")
    assert pulling.path.endswith("%3Apull")
    assert deleting.path.endswith(f"scope=repository%3Athin%2Fanalysis%3A{asked}")


@pytest.mark.parametrize(
    "scope",
    [
        "repository:thin/analysis:pull",
        "repository:thin/analysis:delete,sudo",
        "repository:thin/other:delete",
        "repository:thin/analysis:delete repository:thin/other:pull",
    ],
)
def test_no_token_is_asked_for_what_deleting_cannot_need(
    registry: FakeRegistry, scope: str
) -> None:
    registry.spoil(
        "DELETE",
        "/manifests/",
        lambda _path, reply: replace(
            reply,
            headers={
                "WWW-Authenticate": f'Bearer realm="{registry.url}/token",'
                f'scope="{scope}"'
            },
        ),
        statuses={401},
    )
    registry.delete_scope = ""
    delete(registry)
    (asked,) = registry.seen("GET", "^/token")
    assert asked.path.endswith("thin%2Fanalysis%3Apull%2Cpush%2Cdelete")
