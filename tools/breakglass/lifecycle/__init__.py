"""The use cases: request, check, reconcile, expire, drill, audit. They decide; the ports act."""
