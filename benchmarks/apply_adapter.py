"""The adapter alone: server-side apply of a file's objects by `KubernetesCluster.apply`.

Usage: python benchmarks/apply_adapter.py KUBECONFIG MANIFESTS

Prints the seconds that the call took; MANIFESTS holds a JSON list of objects.
"""

import json
import sys
import time
from pathlib import Path

from breakglass.adapters.clock import SystemClock
from breakglass.adapters.credentials import access_to
from breakglass.adapters.kubernetes import KubernetesCluster

kubeconfig, manifests = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_bytes())
cluster = KubernetesCluster("the cluster", access_to("", None, kubeconfig), SystemClock())
begin = time.perf_counter()
applied = cluster.apply(manifests)
print(time.perf_counter() - begin)
cluster.close()
if len(applied) != len(manifests):
    sys.exit(f"{len(applied)} of {len(manifests)} objects were applied")
