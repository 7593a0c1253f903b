"""The story of one job: from a reference that is owed work to a new revision.

Reads top to bottom: ``run`` is what the queue calls; ``run_job`` takes the lease and
tells the ledger how it ended; ``_Run._publish`` is the story itself. This is the only
place that asks whether a retry would help.
"""

import json
import logging
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self

from workers.config import load_config
from workers.converting import convert
from workers.errors import PermanentError, TransientError
from workers.images.manifest import Platform
from workers.layout.flat import RECEIPT, FlatImage, plan_flat
from workers.layout.names import flat_path, image_path, metadata_path
from workers.ledger import Lease, Ledger, Outcome, Progress, State
from workers.plan import Publisher
from workers.policy import Decision, Rule
from workers.reference import Reference
from workers.resolving import ResolvedImage, fetch_image, resolve_digest
from workers.services import Services

log = logging.getLogger(__name__)

# Raised when what we write for the same image changes; what is live is then rebuilt.
CONVERTER = 1

_HEARTBEAT_SECONDS = 5.0
_PROGRESS_SECONDS = 0.5
MAX_ATTEMPTS = 6
_FIRST_DELAY_SECONDS = 5.0
_LONGEST_DELAY_SECONDS = 600.0


class Overtaken(Exception):
    """A newer push of the same reference waits; this run is not worth finishing."""


class LeaseLost(Exception):
    """Somebody else may work on the reference now; nothing may be published."""


class Refused(PermanentError):
    """The policy does not let this image in."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, for the ledger."""

    outcome: Outcome
    digest: str | None = None
    reason: str | None = None
    revision: int | None = None
    repository: str | None = None
    path: str | None = None
    next_try: float | None = None


def run(reference: str) -> str:
    """Work off one reference; the function that jobs in the queue name.

    Returns:
        One line for RQ's own pages; the ledger has the truth.
    """
    config = load_config(Path(os.environ["CVMFS_WEBHOOK_CONFIG"]), os.environ)
    with Services.open(config) as services:
        return run_job(services, Reference.parse(reference))


def run_job(services: Services, reference: Reference) -> str:
    """Take the lease of a reference, do what is owed, and say how it went."""
    ledger = services.front.ledger
    worker = f"{socket.gethostname()}-{os.getpid()}"
    lease = ledger.begin(str(reference), worker=worker)
    if lease is None:
        return "nothing is owed, or another worker has it"
    with Heartbeat(ledger, lease) as heartbeat:
        try:
            ending = _Run(services, reference, lease, heartbeat).end()
        except LeaseLost:
            return "another worker took over"
    again = ledger.finish(
        lease,
        ending.outcome,
        reason=ending.reason,
        digest=ending.digest,
        live_digest=_live(ending),
        revision=ending.revision,
        repository=ending.repository,
        path=ending.path,
        next_try=ending.next_try,
    )
    if again is not None:
        services.front.queue.enqueue_accepted([again])
    log.info(
        "reference=%s outcome=%s digest=%s revision=%s reason=%s",
        reference,
        ending.outcome,
        ending.digest,
        ending.revision,
        ending.reason,
    )
    return f"{ending.outcome}: {ending.reason or ending.digest}"


def _live(ending: Ending) -> str | None:
    is_live = ending.outcome in (Outcome.PUBLISHED, Outcome.UNCHANGED)
    return ending.digest if is_live else None


class Heartbeat:
    """Keeps a lease alive while a job works, and notices when it is lost."""

    def __init__(self, ledger: Ledger, lease: Lease) -> None:
        self._ledger = ledger
        self._lease = lease
        self._stop = Event()
        self._is_lost = False
        self._thread = Thread(target=self._beat, name="heartbeat", daemon=True)
        self._told = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raise when the run should stop before it publishes."""
        if self._is_lost:
            raise LeaseLost
        if self._ledger.is_overtaken(self._lease):
            raise Overtaken

    def tell(self, progress: Progress) -> None:
        """Write the progress down, now and then; raises like ``check``."""
        now = time.monotonic()
        is_last = progress.layers_done == progress.layers_total
        if is_last or now - self._told >= _PROGRESS_SECONDS:
            self._told = now
            self._ledger.progress(self._lease, progress)
            self.check()

    def _beat(self) -> None:
        while not self._stop.wait(_HEARTBEAT_SECONDS):
            try:
                if not self._ledger.keep_alive(self._lease):
                    self._is_lost = True
                    return
            except TransientError:
                # Redis restarts; the lease outlives a few missed beats.
                log.warning("reference=%s the ledger is away", self._lease.reference)


@dataclass(slots=True)
class _Run:
    """One run over one reference, from the lease to how it ended."""

    services: Services
    reference: Reference
    lease: Lease
    heartbeat: Heartbeat
    digest: str | None = None  # as soon as the registry gave it

    def end(self) -> Ending:
        """Do the work; turn whatever happens into an ending."""
        try:
            return self._publish()
        except LeaseLost:
            raise  # nothing that we say counts any more
        except Overtaken:
            reason = "a newer push was waiting"
            return Ending(Outcome.SUPERSEDED, self.digest, reason)
        except Refused as error:
            return Ending(Outcome.REFUSED, self.digest, str(error))
        except PermanentError as error:
            return Ending(Outcome.FAILED, self.digest, str(error))
        except TransientError as error:
            return self._try_again(str(error), error.retry_after)
        except Exception as error:  # a mistake of ours must not lose the image
            log.exception("reference=%s", self.reference)
            kind = type(error).__name__
            return self._try_again(f"internal error ({kind}); see the worker's log")

    def _publish(self) -> Ending:
        services, reference, lease = self.services, self.reference, self.lease
        ledger, client = services.front.ledger, services.registry
        rule = _decide(services, reference)
        fqrn, publisher = services.publisher(rule)
        path = image_path(reference).decode()

        ledger.stage(lease, State.RESOLVING)
        check = self.heartbeat.check
        descriptor = resolve_digest(client, reference, lease.hint, check)
        self.digest = descriptor.digest
        ledger.stage(lease, State.FETCHING, digest=self.digest)
        platform = Platform.parse(rule.platforms[0])
        receipt = _receipt(self.digest, platform, rule)
        live = _read_receipt(publisher, reference)
        if live == receipt and not lease.forced:
            return Ending(Outcome.UNCHANGED, self.digest, repository=fqrn, path=path)
        _check_private(services, reference, rule)
        image = fetch_image(client, reference, descriptor, platform)
        _check_labels(image, rule)
        check()
        tree = None
        is_rebuilt = lease.forced or live.get("converter", CONVERTER) != CONVERTER
        if is_rebuilt or not publisher.has(flat_path(image.manifest.config.digest)):
            ledger.stage(lease, State.CONVERTING)
            tell = self.heartbeat.tell
            tree = convert(client, image, publisher.sink, rule.limits, tell)

        ledger.stage(lease, State.PUBLISHING)
        check()
        plan = plan_flat(
            FlatImage(
                reference,
                image.manifest.config.digest,
                tree,
                image.raw_manifest,
                image.raw_config,
                json.dumps(receipt, indent=1, sort_keys=True).encode() + b"\n",
            )
        )
        publication = publisher.publish([plan])
        return Ending(
            Outcome.PUBLISHED,
            self.digest,
            "; ".join(publication.losses) or None,
            publication.revision,
            publication.repository,
            path,
        )

    def _try_again(self, reason: str, retry_after: float | None = None) -> Ending:
        """Return a failure that the ledger retries, unless it has been tried enough."""
        attempt = self.lease.attempt
        if attempt >= MAX_ATTEMPTS:
            reason = f"{reason} (given up after {attempt} attempts)"
            return Ending(Outcome.FAILED, self.digest, reason)
        delay = min(_FIRST_DELAY_SECONDS * 3 ** (attempt - 1), _LONGEST_DELAY_SECONDS)
        if retry_after is not None:
            delay = max(delay, min(retry_after, 6 * _LONGEST_DELAY_SECONDS))
        next_try = time.time() + delay
        return Ending(Outcome.FAILED, self.digest, reason, next_try=next_try)


def _decide(services: Services, reference: Reference) -> Rule:
    """Ask the policy again: it may have changed since the push was accepted."""
    decision: Decision = services.policy.current().decide(reference)
    if not decision.allowed or decision.rule is None:
        raise Refused(decision.reason)
    return decision.rule


def _receipt(digest: str, platform: Platform, rule: Rule) -> dict[str, object]:
    """Return what has to be equal for an image to count as unchanged."""
    return {
        "converter": CONVERTER,
        "digest": digest,
        "formats": sorted(rule.formats),
        "platforms": [str(platform)],
    }


def _read_receipt(publisher: Publisher, reference: Reference) -> dict[str, object]:
    """Return the receipt of what is live, which the repository itself keeps."""
    raw = publisher.read(metadata_path(reference) + b"/" + RECEIPT)
    if raw is None:
        return {}
    try:
        receipt = json.loads(raw)
    except ValueError:
        return {}
    return receipt if isinstance(receipt, dict) else {}


def _check_private(services: Services, reference: Reference, rule: Rule) -> None:
    """Refuse what no anonymous client can pull: CVMFS is world-readable."""
    if rule.private == "allow":
        return
    if not services.registry.is_public(reference):
        raise Refused(
            f"{reference} cannot be pulled without a login and CVMFS is world-readable;"
            " a rule with `private: allow` would publish it"
        )


def _check_labels(image: ResolvedImage, rule: Rule) -> None:
    labels = image.config.labels or {}
    for name, value in rule.require_label.items():
        if labels.get(name) != value:
            raise Refused(f'the rule wants LABEL {name}="{value}" in the Dockerfile')
