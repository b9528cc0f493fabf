"""Random emergencies on a real API server, with foreign hands, faults and death in them: the laws hold.

Everything of a run comes from its seed: `scenario` makes it, `run` plays it, `soak` plays many.
"""
