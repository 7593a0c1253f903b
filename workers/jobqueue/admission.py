"""Which jobs may run: ours, exactly as we make them, and nothing else.

RQ calls any dotted name that it finds in a job, in its callbacks too, and sends web
requests for it. Who can write into Redis must not get to run code for that. A job is
therefore looked at before anything of it is imported, and dropped when any part of it
is not as ``carrying.py`` makes it.
"""

from rq.exceptions import DeserializationError
from rq.job import Job

from workers.jobqueue.carrying import JOB_SECONDS
from workers.reference import InvalidReference, Reference


def objection(job: Job, function: str) -> str | None:
    """Say why a job must not run, in one line; None when it may.

    Args:
        job: as read from Redis by the JSON serializer; nothing of it is imported here.
        function: the only one that may be called.
    """
    try:
        name, instance, args, kwargs = _call(job)
    except DeserializationError:
        return "it is not our JSON"
    if name != function or instance is not None:
        return f"it calls {str(name)[:100]!r}"
    if not isinstance(args, list) or kwargs != {}:
        return "its arguments are not ours"
    if len(args) != 1 or not _is_canonical(args[0]):
        return "its argument is no canonical reference"
    for what, is_there in _extras(job).items():
        if is_there:
            return f"it has {what}"
    if job.timeout is None or not 0 < job.timeout <= JOB_SECONDS:
        return "it sets its own time limit"
    return None


def _call(job: Job) -> tuple[object, object, object, object]:
    """Return function, instance and arguments, of which RQ's types promise too much."""
    return job.func_name, job.instance, job.args, job.kwargs


def _is_canonical(argument: object) -> bool:
    if not isinstance(argument, str):
        return False
    try:
        return str(Reference.parse(argument)) == argument
    except InvalidReference:
        return False


def _extras(job: Job) -> dict[str, object]:
    """Return everything that RQ would act on besides the call itself."""
    return {
        # The public properties of these import what they name.
        "a success callback": job._success_callback_name,  # noqa: SLF001
        "a failure callback": job._failure_callback_name,  # noqa: SLF001
        "a stopped callback": job._stopped_callback_name,  # noqa: SLF001
        "web hooks": job.webhooks,
        "dependencies": job._dependency_ids,  # noqa: SLF001 - the property asks Redis
        "retries": job.retries_left or job.number_of_retries,
        "repeats": job.repeats_left,
        "a rate limit": job.rate_limit_key,
        "a group": job.group_id,
        "notes": job.meta,
    }
