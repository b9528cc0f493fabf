"""A GitHub Actions runner: events of the forge start the real workflow files; see `Runner`."""

from breakglass_lab.runner.run import JobRun, WorkflowRun
from breakglass_lab.runner.runner import Runner
from breakglass_lab.runner.workflow import WorkflowError

__all__ = ["JobRun", "Runner", "WorkflowError", "WorkflowRun"]
