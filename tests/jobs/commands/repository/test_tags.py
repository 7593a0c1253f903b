"""The commands that keep a repository in order, as an operator types them."""

import os

from tests.support.harness.operator import FQRN, Operator
from workers.cvmfs.storage.storage import WHITELIST


def test_a_revision_is_tagged_kept_and_rolled_back_to(operator: Operator) -> None:
    operator.publish(b"good")
    added = operator.run("tag", FQRN, "--add", "release", "--description", "it works")
    assert added.output == f"{FQRN}: release is revision 2\n"
    for text in (b"bad", b"worse", b"worst"):
        operator.publish(text)
    operator.repository.sink.put_bytes(b"leaked")
    nothing_waits = ("--keep-for", "0s", "--grace", "0s")
    # What was put in this very second is as young as it can be.
    for path in (operator.storage / "data").glob("??/*"):
        os.utime(path, (1, 1))

    plan = operator.ask("gc", FQRN, "--dry-run", *nothing_waits)
    assert plan["deleted"] == {"objects": 0, "bytes": 0}
    leaks = [pile for pile in plan["garbage"] if pile["why"].startswith("of no")]
    assert [(pile["kind"], pile["objects"]) for pile in leaks] == [("files", 1)]

    told = operator.run("gc", FQRN, "--dry-run", *nothing_waits).output
    assert "would be deleted" in told
    assert "deleted 0" not in told
    assert "files of no revision (aborted publishes)" in told
    done = operator.ask("gc", FQRN, *nothing_waits)
    assert done["garbage"] == plan["garbage"]
    assert done["deleted"]["objects"] == sum(p["objects"] for p in done["garbage"])
    assert f"{FQRN}: deleted 0 (0 B)" in operator.run("gc", FQRN).output
    assert "begin again" in operator.run("gc", FQRN, "--grace", "0s").stderr

    rolled = operator.run("rollback", FQRN, "release")
    assert rolled.stdout == f"{FQRN}: revision 6 is release again\n"
    # There is no queue server here, so the records of images are as they were.
    assert "run `cvmfs-webhook ledger rebuild`" in rolled.stderr
    assert operator.read() == b"good"
    tags = operator.ask("tag", FQRN)
    assert [(tag["name"], tag["revision"]) for tag in tags] == [
        ("trunk", 6),
        ("trunk-previous", 5),
        ("release", 2),
    ]
    assert "it works" in operator.run("tag", FQRN).output
    assert operator.run("tag", FQRN, "--remove", "release").exit_code == 0
    assert len(operator.ask("tag", FQRN)) == 2
    assert operator.run("check", FQRN).exit_code == 0


def test_a_rollback_answers_in_json(operator: Operator) -> None:
    operator.publish(b"good")
    operator.publish(b"bad")
    answer = operator.ask("rollback", FQRN, "2")
    assert answer["revision"] == operator.repository.head().revision == 4
    assert operator.read() == b"good"


def test_the_whitelist_is_signed_anew(operator: Operator) -> None:
    before = (operator.storage / WHITELIST).read_bytes()
    (operator.storage / WHITELIST).write_bytes(before)
    answer = operator.ask("resign", FQRN)
    whitelist = operator.repository.whitelist()
    assert answer["whitelist_expires"].startswith(f"{whitelist.expires:%Y-%m-%dT%H}")
    assert "holds until" in operator.run("resign", FQRN).output


def test_without_the_master_key_nothing_is_signed(operator: Operator) -> None:
    (operator.keys / f"{FQRN}.masterkey").unlink()
    before = (operator.storage / WHITELIST).read_bytes()
    result = operator.run("resign", FQRN)
    assert result.exit_code == 1
    assert "master key" in result.stderr
    assert (operator.storage / WHITELIST).read_bytes() == before
