"""A Ray cluster on this machine: several nodes, each of processes of its own."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import parts

MEMORY = 80_000_000  # bytes of a node's object store; 75 MB is the least


@dataclass(slots=True)
class Cluster:
    """Where it is, and what is needed to add and to kill nodes.

    Attributes:
        address: what RAY_ADDRESS is set to for programs that use it.
        importable: a folder that is on the path of its workers.
        nodes: Ray's own handle of it.
    """

    address: str
    importable: Path
    nodes: Any

    def add(self, cores: int = 1) -> Any:
        """Start another node."""
        return self.nodes.add_node(**_node(cores))

    def kill(self, node: Any) -> None:
        """End a node as a power cut does."""
        self.nodes.remove_node(node, allow_graceful=False)


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Two nodes of one core each; this process is connected.

    Args:
        folder: for a package that workers can import, see `parts.package`.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster as Nodes

    parts.package(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder))
        # workers compute with one thread each, whatever the tests' own number is
        patch.delenv("OMP_NUM_THREADS", raising=False)
        # a node that is gone is missed in seconds, not in half a minute
        health = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
        nodes = Nodes(
            initialize_head=True, head_node_args=_node(1) | {"_system_config": health}
        )
        try:
            nodes.add_node(**_node(1))
            ray.init(
                address=nodes.address, log_to_driver=False, logging_level=logging.ERROR
            )
            yield Cluster(nodes.address, folder, nodes)
        finally:
            ray.shutdown()
            nodes.shutdown()


def _node(cores: int) -> dict[str, Any]:
    return {
        "num_cpus": cores,
        "num_gpus": 0,
        "object_store_memory": MEMORY,
        "include_dashboard": False,
    }
