"""The edge: git, kustomize, GitHub, Kubernetes and the clock behind the ports. SDK types and exceptions stop here."""
