"""What the policy and the image itself have to say before anything is made."""

import dataclasses

from tests.support.harness.jobs import FQRN, Workshop
from tests.support.harness.steering import NAME, push
from tests.support.images.oci import tar_of
from workers.ledger import Outcome, State
from workers.policy import PolicyFile
from workers.publishing.native import NativePublisher
from workers.wiring import open_repository

FIRST = [tar_of({"etc/motd": b"first"})]


def test_a_policy_that_changed_meanwhile_decides(shop: Workshop) -> None:
    push(shop, FIRST)
    shop.want(NAME)
    host = shop.registry.host
    shop.write_policy(
        f'version: 1\nrules:\n  - deny: "{host}/**"\n    reason: we have left\n'
    )

    run = shop.run(NAME)

    assert run.outcome is Outcome.REFUSED
    assert "we have left" in (run.reason or "")
    assert shop.image(NAME).state is State.REFUSED
    assert not shop.registry.seen()


def test_while_the_policy_is_broken_the_last_good_one_decides(shop: Workshop) -> None:
    push(shop, FIRST)
    shop.want(NAME)
    shop.services.policy.current()  # as the worker does before it forks
    shop.write_policy("rules: [")
    assert shop.run(NAME).outcome is Outcome.PUBLISHED


def test_a_policy_that_was_never_good_refuses_nobody(shop: Workshop) -> None:
    push(shop, FIRST)
    shop.want(NAME)
    shop.write_policy("rules: [")
    fresh = PolicyFile(shop.services.config.policy)
    shop.services = dataclasses.replace(shop.services, policy=fresh)

    run = shop.run(NAME)

    assert run.outcome is Outcome.FAILED
    assert "the policy file is broken" in (run.reason or "")
    shop.allow()
    shop.wait_for_next_try(NAME)
    assert shop.run(NAME).outcome is Outcome.PUBLISHED


def test_what_only_we_can_pull_is_refused_unless_the_rule_allows_it(
    shop: Workshop,
) -> None:
    push(shop, FIRST)
    shop.registry.make_private("atlas/analysis")
    shop.want(NAME)
    run = shop.run(NAME)
    assert run.outcome is Outcome.REFUSED
    assert "`private: allow`" in (run.reason or "")
    assert not shop.registry.seen("GET", "/blobs/")

    shop.allow(private="allow")
    shop.want(NAME)
    assert shop.run(NAME).outcome is Outcome.PUBLISHED


def test_a_missing_label_is_refused_with_the_line_that_mends_it(shop: Workshop) -> None:
    shop.allow(require_label='{org.cvmfs.publish: "true"}')
    push(shop, FIRST)
    shop.want(NAME)
    run = shop.run(NAME)
    assert run.outcome is Outcome.REFUSED
    assert 'LABEL org.cvmfs.publish="true"' in (run.reason or "")

    labels = {"Labels": {"org.cvmfs.publish": "true"}}
    shop.registry.push_image("atlas/analysis", "v1", FIRST, config={"config": labels})
    shop.want(NAME)
    assert shop.run(NAME).outcome is Outcome.PUBLISHED


def test_a_rule_that_names_no_repository_where_it_has_to_says_so(
    shop: Workshop,
) -> None:
    push(shop, FIRST)
    real = shop.services.publishers[FQRN]
    config = shop.services.config
    second = NativePublisher("other.example.org", lambda: open_repository(config, FQRN))
    publishers = {FQRN: real, "other.example.org": second}
    shop.services = dataclasses.replace(shop.services, publishers=publishers)
    shop.want(NAME)
    run = shop.run(NAME)
    assert (run.outcome, run.next_try) == (Outcome.FAILED, None)
    assert "write to:" in (run.reason or "")
