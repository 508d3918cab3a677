"""Several one-thread processes that train together (gloo), or one process, on a CPU or a GPU.

Two threads in one process are slow next to any busy process; two processes of one thread are not.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def average_gradients(self, params: list[Tensor]) -> None:
        """All-reduces the gradients in one piece."""
        if self.world == 1:
            return
        flat = torch.cat([p.grad.flatten() for p in params if p.grad is not None])
        dist.all_reduce(flat)
        flat /= self.world
        at = 0
        for p in params:
            if p.grad is not None:
                n = p.grad.numel()
                p.grad.copy_(flat[at : at + n].view_as(p.grad))
                at += n

    @torch.no_grad()
    def average_weights(self, params: list[Tensor]) -> None:
        """Sets the parameters of every rank to their mean (local SGD: rarer than gradients, so that ranks on busy
        cores wait less for each other)."""
        if self.world == 1:
            return
        flat = torch.cat([p.flatten() for p in params])
        dist.all_reduce(flat)
        flat /= self.world
        at = 0
        for p in params:
            p.copy_(flat[at : at + p.numel()].view_as(p))
            at += p.numel()

    def wait(self) -> None:
        """Until every rank is here."""
        if self.world > 1:
            dist.barrier()


def _entry(rank: int, world: int, port: int, main: Callable[..., None], args: Any) -> None:
    torch.set_num_threads(1)
    if world > 1:
        os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = "127.0.0.1", str(port)
        dist.init_process_group("gloo", rank=rank, world_size=world)
    try:
        main(args, Ranks(rank, world))
    finally:
        if world > 1:
            dist.destroy_process_group()


def launch(main: Callable[..., None], args: Any, processes: int) -> None:
    """Runs main(args, ranks) in `processes` processes (in this one if it is 1)."""
    if processes == 1:
        main(args, Ranks())
        return
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    torch.multiprocessing.spawn(_entry, (processes, port, main, args), nprocs=processes)
