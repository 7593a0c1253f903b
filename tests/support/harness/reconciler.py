"""A reconciler over the jobs of this process, and the registry that it asks."""

from tests.support.harness.jobs import Workshop
from tests.support.images.oci import Image, tar_of
from webhook.intake.intake import Intake
from webhook.reconcile.look import LookResult, RegistryLook
from webhook.reconcile.reconciler import Reconciler
from workers.ledger import Looks

NAME = "atlas/analysis"
MINUTE, DAY = 60, 86_400


class ReconcilerDriver:
    """A reconciler beside a workshop, on the same clock."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        front = shop.services.front
        self.looks = Looks(front.connection, clock=shop.clock)
        self.problem: str | None = None
        self.intake = Intake(
            shop.ledger,
            front.queue,
            shop.services.policy,
            durability=lambda: self.problem,
            clock=shop.clock,
        )
        self.reconciler = self.started()

    def started(self) -> Reconciler:
        """Return another one, which knows only what was remembered."""
        shop = self.shop
        looker = RegistryLook(
            shop.ledger,
            self.looks,
            shop.services.registry,
            self.intake,
            shop.services.front.queue,
        )
        return Reconciler(looker, shop.services.policy)

    def look(self) -> list[LookResult]:
        """Look at what is due."""
        return list(self.reconciler.round())

    def found(self, minutes: int = 15) -> LookResult:
        """Look at the only image repository when its time has come."""
        self.shop.clock.passes(minutes * MINUTE)
        (found,) = self.look()
        assert found.problem is None
        return found

    def work(self, *tags: str) -> None:
        for tag in tags:
            self.shop.run(f"{NAME}:{tag}")

    def push(self, tag: str, text: bytes = b"first") -> Image:
        """Put an image into the registry; nobody is told."""
        return self.shop.registry.push_image(NAME, tag, [tar_of({"motd": text})])

    def publish(self, *tags: str) -> None:
        """Push and publish, one a minute."""
        for tag in tags:
            self.push(tag, tag.encode())
            self.shop.clock.passes(MINUTE)
            self.shop.publish(f"{NAME}:{tag}")
