"""Hypothesis: the same examples every time where CI is set, new ones at a desk; no deadline, no files left behind."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("desk", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("desk"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")
