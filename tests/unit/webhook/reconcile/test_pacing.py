"""Only some of what is asked for waits or runs at a time."""

from tests.support.harness.ledger import D1, LedgerDriver
from webhook.reconcile.pacing import Pacing

ONE, TWO = "docker.io/atlas/a:1", "docker.io/atlas/b:1"


def test_there_is_room_again_for_what_has_been_answered(driver: LedgerDriver) -> None:
    pacing = Pacing(driver.ledger, 2)
    assert pacing.room() == 2
    for name in (ONE, TWO):
        driver.push(D1, name)
    pacing.add([ONE, TWO, "docker.io/atlas/never:1"])
    assert pacing.room() == 0
    driver.publish(driver.begin(reference=ONE))
    assert pacing.room() == 1
    driver.publish(driver.begin(reference=TWO))
    assert pacing.room() == 2
