"""What a record says of itself beside its fields."""

from tests.support.harness.ledger import LedgerDriver


def test_work_is_owed_until_a_run_has_answered_the_newest_request(
    driver: LedgerDriver,
) -> None:
    driver.push()
    assert driver.image().is_owed
    lease = driver.begin()
    assert driver.image().is_owed
    driver.publish(lease)
    assert not driver.image().is_owed
    driver.push()
    lease = driver.begin()
    driver.push()
    driver.publish(lease)
    assert driver.image().is_owed
