"""Who reaches whom: workloads, the policies of every kind, and the connections they allow."""
