"""Who writes in a cluster: the applier from outside, the agent from inside."""

from __future__ import annotations

from breakglass.model.inventory import NAMESPACE

APPLIER = "breakglass:applier"
"""User name of the applier, as each API server's authentication gives it."""
AGENT = "agent"
"""The agent's ServiceAccount, in the namespace `breakglass`."""
AGENT_USER = f"system:serviceaccount:{NAMESPACE}:{AGENT}"
"""User name of the agent
(https://kubernetes.io/docs/reference/access-authn-authz/authentication/#service-account-tokens)."""
