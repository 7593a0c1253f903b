"""How hypothesis searches: the same in every run, or deeper by hand.

HYPOTHESIS_PROFILE=deep tries many more examples, other ones each time.
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
