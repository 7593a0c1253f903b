"""A reconciler over the jobs of this process, and the registry that it asks."""

from tests.support.harness.jobs import JobRunner
from tests.support.images.oci import Image, tar_of
from webhook.intake.intake import Intake
from webhook.reconcile.look import LookResult, RegistryLook
from webhook.reconcile.reconciler import Reconciler
from workers.ledger import Looks

NAME = "atlas/analysis"
MINUTE, DAY = 60, 86_400


class ReconcilerDriver:
    """A reconciler beside a job runner, on the same clock."""

    def __init__(self, runner: JobRunner) -> None:
        self.runner = runner
        front = runner.services.front
        self.looks = Looks(front.connection, clock=runner.clock)
        self.problem: str | None = None
        self.intake = Intake(
            runner.ledger,
            front.queue,
            runner.services.policy,
            durability=lambda: self.problem,
            clock=runner.clock,
        )
        self.reconciler = self.started()

    def started(self) -> Reconciler:
        """Return another one, which knows only what was remembered."""
        runner = self.runner
        looker = RegistryLook(
            runner.ledger,
            self.looks,
            runner.services.registry,
            self.intake,
            runner.services.front.queue,
        )
        return Reconciler(looker, runner.services.policy)

    def look(self) -> list[LookResult]:
        """Look at what is due."""
        return list(self.reconciler.round())

    def found(self, minutes: int = 15) -> LookResult:
        """Look at the only image repository when its time has come."""
        self.runner.clock.passes(minutes * MINUTE)
        (found,) = self.look()
        assert found.problem is None
        return found

    def work(self, *tags: str) -> None:
        for tag in tags:
            self.runner.run(f"{NAME}:{tag}")

    def push(self, tag: str, text: bytes = b"first") -> Image:
        """Put an image into the registry; nobody is told."""
        return self.runner.registry.push_image(NAME, tag, [tar_of({"motd": text})])

    def publish(self, *tags: str) -> None:
        """Push and publish, one a minute."""
        for tag in tags:
            self.push(tag, tag.encode())
            self.runner.clock.passes(MINUTE)
            self.runner.publish(f"{NAME}:{tag}")
