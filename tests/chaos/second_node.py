"""`python second_node.py ADDRESS CPUS TEMP_DIR`: another Ray node on this machine, until it is ended.

Ray's command line refuses a second node on the loopback; what it calls doesn't.
"""

import signal
import sys

from ray._private.node import Node
from ray._private.parameter import RayParams

address, cpus, temp_dir = sys.argv[1:]
params = RayParams(
    gcs_address=address, node_ip_address="127.0.0.1", num_cpus=int(cpus), min_worker_port=0, max_worker_port=0,
    include_log_monitor=False, temp_dir=temp_dir,
)  # fmt: skip
node = Node(params, head=False, shutdown_at_exit=True, spawn_reaper=False)
print("up", flush=True)
signal.pause()
