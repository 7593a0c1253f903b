"""Orders are lines of text, and one of them names a digest."""

import pytest

from workers.ledger import orders
from workers.reference import InvalidReference

DIGEST = f"sha256:{'1' * 64}"


def test_the_digest_to_restore_is_read_from_the_order() -> None:
    assert orders.restored_digest(orders.restore(DIGEST)) == DIGEST


@pytest.mark.parametrize(
    "order", [None, "", orders.REMOVE, orders.LOOK, orders.EXPIRE, DIGEST]
)
def test_no_other_order_restores_anything(order: str | None) -> None:
    assert orders.restored_digest(order) is None


@pytest.mark.parametrize("digest", ["", "v1", "sha256:12", f"{DIGEST} ", DIGEST[:-1]])
def test_what_is_no_digest_is_refused(digest: str) -> None:
    with pytest.raises(InvalidReference):
        orders.restore(digest)
    # Nor from an order that others have written.
    with pytest.raises(InvalidReference):
        orders.restored_digest(f"restore {digest}")


def test_orders_are_the_words_that_queued_jobs_have() -> None:
    assert (orders.REMOVE, orders.LOOK, orders.EXPIRE) == ("remove", "look", "expire")
    assert orders.restore(DIGEST) == f"restore {DIGEST}"
