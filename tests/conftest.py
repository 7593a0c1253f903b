"""How hypothesis searches, and what tests with parameters of bytes are called.

Hypothesis searches the same in every run; HYPOTHESIS_PROFILE=deep tries many more
examples, other ones each time.
"""

import os

from hypothesis import HealthCheck, settings

# No test may fail because of a time.
settings.register_profile(
    "fixed",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "deep",
    deadline=None,
    max_examples=5000,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Call binary parameters by their argument's name, not by their content.

    Two processes that collect the tests must give them the same names, and content may
    differ from one second to the next: gzip notes the time in its header.
    """
    if isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable()):
        return argname
    return None
