"""What the outside reaches: from Ingresses, routes and Services over the policies on the way to workloads."""
