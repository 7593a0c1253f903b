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


def test_the_path_of_an_image_is_that_of_its_flat_tree(driver: LedgerDriver) -> None:
    driver.push()
    assert driver.image().path is None
    driver.publish(driver.begin())
    assert driver.image().path == "/registry.example.org/atlas/analysis:v1"
