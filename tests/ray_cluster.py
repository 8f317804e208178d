"""A Ray cluster of two nodes on this machine, whose nodes and head can be killed and started again."""

from __future__ import annotations

import os
import re
import socket
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import psutil
from ray.cluster_utils import Cluster

_ATTEMPTS = 4
_ACTOR = re.compile(r"ray::Worker(\.(?!__init__).*)?\s*")


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class TwoNodes:
    """A head without room for work, and two nodes with one CPU each.

    Args:
        nodes: Number of nodes beside the head.
    """

    def __init__(self, nodes: int = 2) -> None:
        self._port, self._count = free_port(), nodes
        self._cluster: Any = None
        self.nodes: list[Any] = []
        self.start()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def start(self) -> None:
        """Starts head and nodes; the head always has the same address."""
        head = {"num_cpus": 0, "gcs_server_port": self._port, "include_dashboard": False}
        for attempt in range(_ATTEMPTS):
            try:
                self._cluster = Cluster(initialize_head=True, connect=False, head_node_args=head)
                break
            except Exception:  # Ray gives a node 30 s to start, and a busy machine may need longer
                if attempt == _ATTEMPTS - 1:
                    raise
        self.nodes = []
        for _ in range(self._count):
            self.add()

    def add(self) -> None:
        """Adds a node."""
        self.nodes.append(self._cluster.add_node(wait=False, num_cpus=1))

    def kill_node(self, number: int = 0) -> None:
        """Ends all processes of a node with SIGKILL."""
        self._cluster.remove_node(self.nodes.pop(number), allow_graceful=False)

    def kill(self) -> None:
        """Ends everything, the head too, with SIGKILL."""
        for node in [*self.nodes, self._cluster.head_node]:
            node.kill_all_processes(check_alive=False, allow_graceful=False)

    def actors(self) -> list[psutil.Process]:
        """The processes of the actors that are ready to work for a sweep, on any node."""
        return [
            each
            for each in psutil.process_iter(["cmdline"])
            if _ACTOR.fullmatch(" ".join(each.info["cmdline"] or ())) and self._ours(each)
        ]

    def _ours(self, process: psutil.Process) -> bool:
        """Whether a process was started by a node of this cluster."""
        raylets = {info.process.pid for node in self.nodes for group in node.all_processes.values() for info in group}
        try:
            return any(parent.pid in raylets for parent in process.parents())
        except psutil.NoSuchProcess:
            return False
