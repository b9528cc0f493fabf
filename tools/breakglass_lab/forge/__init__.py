"""A GitHub stand-in on loopback over a real bare git repository; see `Forge`."""

from breakglass_lab.forge.events import Event
from breakglass_lab.forge.faults import Fault
from breakglass_lab.forge.organisation import App, Organisation, Role, Team, User
from breakglass_lab.forge.rulesets import BypassActor, Rule, Ruleset, platform_rulesets, ruleset_of
from breakglass_lab.forge.runs import Run, Runs
from breakglass_lab.forge.server import Forge
from breakglass_lab.forge.state import Route

__all__ = [
    "App",
    "BypassActor",
    "Event",
    "Fault",
    "Forge",
    "Organisation",
    "Role",
    "Route",
    "Rule",
    "Ruleset",
    "Run",
    "Runs",
    "Team",
    "User",
    "platform_rulesets",
    "ruleset_of",
]
