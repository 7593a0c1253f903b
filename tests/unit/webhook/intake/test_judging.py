"""What becomes of an event, before anything is done about it."""

import pytest

from webhook.intake.judging import IMAGE_TYPES, Judgement, judge
from webhook.senders.event import PushEvent
from workers.ledger import Verdict
from workers.policy import parse_policy

DIGEST = f"sha256:{'0' * 64}"
POLICY = parse_policy("version: 1\nrules: [{allow: a.b/team/*}]")


def judged(**fields: str | None) -> Judgement:
    names: dict[str, str | None] = {"repository": "team/web", "tag": "1"}
    event = PushEvent.read(registry="a.b", **(names | fields))  # type: ignore[arg-type] # names vary
    return judge(event, POLICY)


def test_an_allowed_tag_is_queued_and_another_refused() -> None:
    good = judged()
    assert (good.verdict, good.name) == (Verdict.QUEUED, "a.b/team/web:1")
    assert good.reason == "rule 1 (line 2): allow a.b/team/*"
    bad = judged(repository="other/web")
    assert (bad.verdict, bad.reason) == (
        Verdict.REFUSED,
        "no rule allows this name",
    )
    assert bad.is_about_image


@pytest.mark.parametrize("media_type", [None, *sorted(IMAGE_TYPES)])
def test_manifests_of_every_kind_and_unnamed_ones_are_images(
    media_type: str | None,
) -> None:
    assert judged(media_type=media_type).verdict is Verdict.QUEUED


@pytest.mark.parametrize("tag", ["1", None])
def test_a_layer_is_a_part_of_an_image_and_no_image(tag: str | None) -> None:
    layer = judged(media_type="application/octet-stream", tag=tag)
    assert (layer.verdict, layer.is_about_image) == (Verdict.IGNORED, False)
    assert layer.reason == "application/octet-stream is no image manifest"


@pytest.mark.parametrize(
    ("action", "is_about_image"),
    [
        ("pull", False),
        ("mount", False),
        ("delete", True),
        ("rename", True),
        ("x", True),
    ],
)
def test_only_a_push_starts_anything(action: str, *, is_about_image: bool) -> None:
    other = judged(action=action)
    assert (other.verdict, other.is_about_image) == (Verdict.IGNORED, is_about_image)


def test_a_manifest_without_a_tag_starts_nothing_and_is_named_by_digest() -> None:
    child = judged(tag=None, digest=DIGEST)
    assert child.verdict is Verdict.IGNORED
    assert child.reason == "without a tag nothing is published"
    assert child.name == f"a.b/team/web@{DIGEST}"
    assert judged(tag=None).name == "a.b/team/web"
    assert judged(digest=DIGEST).name == "a.b/team/web:1"


def test_an_event_with_a_problem_is_refused_and_has_no_name() -> None:
    bad = judged(repository="../../etc", action="pull")
    assert (bad.verdict, bad.name) == (Verdict.REFUSED, None)
    assert "'../../etc' is not valid" in bad.reason


def test_a_signature_is_refused_by_its_tag() -> None:
    signature = judged(tag=f"sha256-{'0' * 64}.sig")
    assert signature.verdict is Verdict.REFUSED


KEEPING = parse_policy("""\
version: 1
rules:
  - {allow: a.b/team/*, keep: {grace: 30d}}
  - {allow: a.b/all/*}
""")


def deletion(repository: str) -> Judgement:
    event = PushEvent.read(
        registry="a.b", repository=repository, tag="1", action="delete"
    )
    return judge(event, KEEPING)


def test_a_deletion_leads_to_a_look_where_the_rule_has_keep() -> None:
    good = deletion("team/web")
    assert good.verdict is Verdict.QUEUED
    assert good.reason.startswith("a look whether it is gone: rule 1")


def test_a_deletion_leads_to_nothing_where_no_rule_has_keep() -> None:
    kept = deletion("all/web")
    assert (kept.verdict, kept.is_about_image) == (Verdict.IGNORED, True)
    assert "has no `keep:`, so what is gone stays published" in kept.reason
    refused = deletion("other/web")
    assert refused.verdict is Verdict.IGNORED
