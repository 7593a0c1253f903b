"""Lists come page by page, and come to an end."""

import re

import pytest

from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.misbehaving_server import Reply
from tests.support.registries.one_image import IMAGE, NAME
from workers.reference import Reference
from workers.registry import (
    ImageNotFound,
    RegistryClient,
    RegistryProtocolError,
    RegistryUnavailable,
)


def test_tags_come_page_by_page(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    tags = [f"v{n:03}" for n in range(25)]
    for tag in tags:
        registry.hold_image("cms/many", tag, IMAGE)
    registry.page_tags = 10
    many = Reference(reference.registry, "cms/many", "latest")
    assert list(client.tags(many)) == tags
    assert len(registry.seen("GET", "/tags/")) == 3


def test_a_page_that_fails_ends_the_list_with_an_error(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    for tag in ("v2", "v3"):
        registry.hold_image(NAME, tag, IMAGE)
    registry.page_tags = 2
    registry.fail("GET", "last=v2", status=500)
    listed = client.tags(reference)
    assert [next(listed), next(listed)] == ["v1", "v2"]
    with pytest.raises(RegistryUnavailable, match=f"^tags of {reference.name}"):
        next(listed)


def test_pages_without_end_are_refused(
    client: RegistryClient,
    registry: FakeRegistry,
    reference: Reference,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.registry.listing.pages._MOST_PAGES", 3)
    numbers = iter(range(100))

    def more(_path: str, reply: Reply) -> Reply:
        link = f'</v2/{NAME}/tags/list?n=1&last={next(numbers)}>; rel="next"'
        return Reply(200, {**reply.headers, "Link": link}, reply.body)

    registry.spoil("GET", "/tags/", more)
    with pytest.raises(RegistryProtocolError, match="more than 3 pages"):
        list(client.tags(reference))


def test_tags_of_an_unknown_repository_are_not_found(
    client: RegistryClient, reference: Reference
) -> None:
    with pytest.raises(ImageNotFound, match="NAME_UNKNOWN"):
        list(client.tags(Reference(reference.registry, "no/such", "latest")))


def test_a_list_that_leads_back_to_itself_is_no_list(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    def loop(path: str, reply: Reply) -> Reply:
        return Reply(200, {**reply.headers, "Link": f"<{path}>; rel=next"}, reply.body)

    registry.spoil("GET", "/tags/list", loop, times=None)
    with pytest.raises(RegistryProtocolError, match="repeats itself"):
        list(client.tags(reference))
    assert len(registry.seen("GET", "/tags/")) == 1


def test_a_registry_may_list_its_repositories(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    with pytest.raises(ImageNotFound):
        list(client.repositories(reference.registry, None))
    registry.has_catalog = True
    listed = list(client.repositories(reference.registry, None))
    assert listed == [reference.repository]


@pytest.mark.parametrize("most", [100, 1, 0])
def test_a_registry_that_gives_less_at_a_time_is_asked_for_less(
    client: RegistryClient, registry: FakeRegistry, reference: Reference, most: int
) -> None:
    for tag in ("v2", "v3"):
        registry.hold_image(NAME, tag, IMAGE)

    def refuse(path: str, reply: Reply) -> Reply:
        asked = re.search(r"[?&]n=([0-9]+)", path)
        return Reply(400) if asked and int(asked[1]) > most else reply

    registry.spoil("GET", "/tags/list", refuse)
    assert list(client.tags(reference)) == ["v1", "v2", "v3"]


def test_a_registry_that_refuses_any_list_is_not_asked_for_ever(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    registry.fail("GET", "/tags/list", status=400, body=b'{"details": "not here"}')
    with pytest.raises(RegistryProtocolError, match=r"answered 400 \(not here"):
        list(client.tags(reference))
    assert len(registry.seen("GET", "/tags/list")) == 11


def test_a_link_to_the_list_of_another_repository_is_not_followed_there(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    registry.hold_image("cms/other", "theirs", IMAGE)
    link = {"Link": '</v2/cms/other/tags/list?last=w>; rel="next"'}
    registry.change_headers("GET", "/tags/", link, times=1)
    assert list(client.tags(reference)) == ["v1"]
    assert registry.seen("GET", "cms/other") == []
