"""Several processes that train one captioner together.

Each takes its share of every batch, and what they computed is added up, so that all hold the same weights after every
step. Of several GPUs each process has one. On a CPU that is idle two processes are as fast as two threads; on one that
others use too they are two to three times as fast, since threads wait for each other in every operation.
"""

import os
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, multiprocessing, nn

from ..errors import ConfigError, UserError

_PATIENCE = timedelta(days=1)  # the first may pack the whole data set, or write a checkpoint to a slow disk


class Team:
    """The processes of one training run, seen from number ``rank`` of ``size``; the first one talks and writes."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def first(self) -> bool:
        """Whether this process is the one that talks and writes."""
        return self.rank == 0

    def share(self, things: Any) -> Any:
        """What of a sequence falls to this process."""
        return things[self.rank :: self.size]

    def sum(self, numbers: Tensor) -> Tensor:
        """``numbers`` added up over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(numbers)
        return numbers

    def gather(self, thing: Any) -> list[Any]:
        """The ``thing`` of every process."""
        if self.size == 1:
            return [thing]
        things = [None] * self.size
        dist.all_gather_object(things, thing)
        return things

    def average(self, model: nn.Module, loss: Tensor, counts: Sequence[int]) -> tuple[float, int, int, bool]:
        """Make the gradients of all processes one, in place, and so the running statistics; once a step.

        Args:
            model: with the gradients of ``loss``.
            loss: mean of this process over its words.
            counts: these words, their captions, the captions left out, whether to stop.

        Returns:
            The same of all processes, without the words.
        """
        if self.size > 1:
            parameters = [p for p in model.parameters() if p.requires_grad]
            norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
            means = [s for m in norms for s in (m.running_mean, m.running_var) if s is not None]
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            figures = torch.tensor([*counts, *(p.grad is not None for p in parameters)], device=loss.device)
            weighed = [x * counts[0] for x in (loss, *gradients)]  # a mean over the words of all
            parts = [figures, *weighed, *means]
            summed = self.sum(torch.cat([part.flatten().float() for part in parts]))
            figures, *rest = summed.split([part.numel() for part in parts])
            counts, reached = [int(n) for n in figures[: len(counts)].tolist()], figures[len(counts) :].tolist()
            loss = rest[0] / counts[0]
            for parameter, found, gradient in zip(parameters, reached, rest[1:], strict=False):
                parameter.grad = (gradient / counts[0]).view_as(parameter).to(parameter) if found else None
            for mean, total in zip(means, rest[1 + len(parameters) :], strict=True):
                mean.copy_(total.view_as(mean) / self.size)
        return loss.item(), counts[1], counts[2], bool(counts[3])

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Within, the first process works; the others come after it, and find what it left on disk."""
        if not self.first:
            self.gather(None)
        yield
        if self.first:
            self.gather(None)


@contextmanager
def assembled(size: int, device: torch.device, work: Callable[..., object], *arguments: Any) -> Iterator[Team]:
    """This process as the first of ``size``; the others call ``work(team, *arguments)`` meanwhile.

    The threads of this process are divided among all. An error of another process is raised here, and the others end
    when this one does, however it ends.

    Args:
        size: number of processes.
        device: ``cpu``, or ``cuda``, of which process ``rank`` has device ``rank``.
        work: what the other processes do; can be pickled.
        arguments: of ``work``, after the team; can be pickled.

    Raises:
        ConfigError: there are fewer GPUs than processes, or one of them is asked for by its number.
        UserError: another process was ended from outside.
    """
    if size == 1:
        yield Team()
        return
    numbered: int | None = device.index
    if device.type == "cuda" and (numbered is not None or torch.cuda.device_count() < size):
        raise ConfigError(
            f"processes={size} wants device=cuda and a GPU for each; got device={device}, and "
            f"{torch.cuda.device_count()} of them are here"
        )
    threads: int = torch.get_num_threads()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="changecap-") as folder:
        meeting = Path(folder) / "meeting"
        others = []
        for rank in range(1, size):
            here, there = context.Pipe(duplex=False)
            called = (rank, size, device.type, threads, meeting, there, work, arguments)
            process = context.Process(target=_other, args=called, daemon=True)
            process.start()
            there.close()
            others.append((process, here))
        try:
            with _joined(rank=0, size=size, kind=device.type, threads=threads, meeting=meeting) as team:
                yield team
            for process, _ in others:
                process.join()
        except RuntimeError:  # the connection breaks when another process ends
            for _, errors in others:
                with suppress(EOFError):
                    if errors.poll(1):
                        raise errors.recv() from None
            for rank, (process, _) in enumerate(others, 2):
                process.join(1)
                if process.exitcode:
                    raise UserError(
                        f"process {rank} of {size} came to an end by itself (exit code {process.exitcode}), as it does "
                        "where memory runs out; what was saved before is there"
                    ) from None
            raise
        finally:
            for process, errors in others:
                process.kill()
                process.join()
                errors.close()
            torch.set_num_threads(threads)


def _other(
    rank: int,
    size: int,
    kind: str,
    threads: int,
    meeting: Path,
    errors: Connection,
    work: Callable[..., object],
    arguments: tuple[Any, ...],
) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # the first tells the others when to stop
        signal.signal(number, signal.SIG_IGN)
    _end_with(os.getppid())
    try:
        with _joined(rank, size, kind, threads, meeting) as team:
            work(team, *arguments)
    except Exception as error:
        error.add_note(f"in process {rank + 1} of {size}:\n{traceback.format_exc()}")
        with suppress(OSError):  # the first process is gone, and nobody listens
            errors.send(error)
        raise SystemExit(1) from None


@contextmanager
def _joined(rank: int, size: int, kind: str, threads: int, meeting: Path) -> Iterator[Team]:
    torch.set_num_threads(max(1, threads // size))
    if kind == "cuda":
        torch.cuda.set_device(rank)
    dist.init_process_group(
        "nccl" if kind == "cuda" else "gloo",
        init_method=meeting.as_uri(),
        rank=rank,
        world_size=size,
        timeout=_PATIENCE,
    )
    try:
        yield Team(rank, size)
        dist.barrier()  # who leaves early breaks the connection for those who still listen
    finally:
        dist.destroy_process_group()


def _end_with(parent: int) -> None:
    """End this process when process ``parent`` is gone, so too while it waits for others."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
