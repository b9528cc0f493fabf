"""Break-glass access for Kubernetes, out of git."""

__version__ = "0.1.0"
