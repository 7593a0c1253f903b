"""Which images go into which repository.

Essential reading, in order: ``rule.py`` (one rule of the file), ``policy.py`` (the
first that matches decides), ``image_pattern.py`` (how names match).
"""

from workers.policy.policy import (
    Decision,
    NoTarget,
    Policy,
    PolicyError,
    PolicyFile,
    load_policy,
    parse_policy,
    target_repository,
)
from workers.policy.rule import ImageLimits, Keep, Rule, Watch

__all__ = [
    "Decision",
    "ImageLimits",
    "Keep",
    "NoTarget",
    "Policy",
    "PolicyError",
    "PolicyFile",
    "Rule",
    "Watch",
    "load_policy",
    "parse_policy",
    "target_repository",
]
