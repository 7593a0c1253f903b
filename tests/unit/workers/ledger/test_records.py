"""What a record says of itself beside its fields."""

from collections.abc import Iterator

import pytest

from tests.support.harness.ledger import Bench, bench_on
from tests.support.harness.redis_server import RedisServer


@pytest.fixture
def bench(server: RedisServer) -> Iterator[Bench]:
    with bench_on(server) as made:
        yield made


def test_work_is_owed_until_a_run_has_answered_the_newest_request(
    bench: Bench,
) -> None:
    bench.push()
    assert bench.image().is_owed
    lease = bench.begin()
    assert bench.image().is_owed
    bench.publish(lease)
    assert not bench.image().is_owed
    bench.push()
    lease = bench.begin()
    bench.push()
    bench.publish(lease)
    assert bench.image().is_owed


def test_the_path_of_an_image_is_that_of_its_flat_tree(bench: Bench) -> None:
    bench.push()
    assert bench.image().path is None
    bench.publish(bench.begin())
    assert bench.image().path == "/registry.example.org/atlas/analysis:v1"
