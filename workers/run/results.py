"""How a run ends well: what the ledger is told of an image that is live."""

from collections.abc import Sequence
from dataclasses import replace

from workers.formats.documents import read_manifest, read_receipt
from workers.formats.paths import metadata_path
from workers.ledger import Outcome, RunResult
from workers.policy import Rule
from workers.published.live import what_is_live
from workers.publishing.publisher import Publication
from workers.run.run import Run


def published(
    run: Run, rule: Rule, publication: Publication, digest: str, told: Sequence[str]
) -> RunResult:
    """Return the end of a run that made a digest live; ``told`` is said of it.

    Anybody may read that, unless the caller knows better.
    """
    result = RunResult(
        Outcome.PUBLISHED,
        digest,
        "; ".join(told) or None,
        revision=publication.revision,
        repository=publication.repository,
        is_reason_open=True,
    )
    return _with_what_is_live(run, rule, result)


def unchanged(run: Run, rule: Rule, told: Sequence[str] = ()) -> RunResult:
    """Return the end of a run that found its image live; ``told`` is said of it."""
    fqrn, publisher = run.services.publisher(rule)
    known = run.services.front.ledger.image(str(run.reference))
    is_known = known is not None and known.live_digest == run.digest
    # Published by a run that was killed before it could say so: by then it was in.
    revision = None if is_known else publisher.published().revision
    result = RunResult(
        Outcome.UNCHANGED,
        run.digest,
        "; ".join(told) or None,
        revision=revision,
        repository=fqrn,
        is_reason_open=not told,
    )
    return _with_what_is_live(run, rule, result)


def _with_what_is_live(run: Run, rule: Rule, result: RunResult) -> RunResult:
    """Return a result with what the repository says of the name by now."""
    _, publisher = run.services.publisher(rule)
    tree = publisher.published()
    receipt = read_receipt(tree, run.reference)
    manifest = read_manifest(tree, metadata_path(run.reference))
    return replace(result, live=what_is_live(run.reference, receipt, manifest))
