"""Which device a process runs on, and how many processes there are."""

import os
from collections.abc import Callable

import torch

from recbole_mm.errors import InputError
from recbole_mm.parallel.launch import starts_others
from recbole_mm.parallel.ranks import Ranks

USERS_GPUS = os.environ.get("CUDA_VISIBLE_DEVICES")
SEVERAL_MACHINES = ("ip", "port", "group_offset", "world_size")


def choose_device(config: dict, given: bool, recboles: Callable[[], None], several: bool) -> None:
    """Chooses the device as RecBole does, with three differences. ``use_gpu: False`` means the CPU, and leaves the environment as it is for
    the next run of this process. CUDA_VISIBLE_DEVICES as the user set it stands unless ``gpu_id`` is given. Under torchrun each process of
    a machine gets one of the visible GPUs, and only the first process logs. RecBole itself is told that each process is the only one;
    ``Ranks`` is what knows of the others.

    Args:
        config: the settings; device, single_spec and local_rank are set in it.
        given: whether the user gave gpu_id.
        recboles: a function that makes RecBole's choice.
        several: whether several processes can train the model together.

    Raises:
        InputError: there are more processes than GPUs, or the settings ask for processes that cannot be started.
    """
    torchrun = int(os.environ.get("WORLD_SIZE", 1)) > 1
    if torchrun and given and config["use_gpu"]:  # before anything asks which GPUs there are
        gpus = config["gpu_id"]
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus)) if isinstance(gpus, list | tuple) else str(gpus)
    ranks, nproc = Ranks.from_environment(), _processes(config)
    if max(nproc, ranks.world) > 1 and not several:
        raise InputError(f"{config['model']} is one of RecBole's models, which train in one process here: leave out nproc and torchrun")
    config.pop("local_rank", None)
    if starts_others(nproc):  # the GPUs belong to those processes
        config.update(single_spec=True, local_rank=0, device=torch.device("cpu"))
        return
    if config["use_gpu"] and not given and USERS_GPUS is not None:
        config["gpu_id"] = USERS_GPUS
    if ranks.rank:
        config.update(state="WARNING", show_progress=False, log_wandb=False)
    if torchrun and config["use_gpu"] and torch.cuda.is_available():
        config.update(single_spec=True, local_rank=0, device=_own_gpu())
    elif config["use_gpu"]:
        recboles()
    else:
        config.update(gpu_id="", single_spec=True, local_rank=0, device=torch.device("cpu"))


def _processes(config: dict) -> int:
    for key in SEVERAL_MACHINES:
        if config.get(key) is not None and not (key == "world_size" and config[key] in (-1, 0, 1)):
            raise InputError(f"{key}: use torchrun to start processes on several machines; --nproc=N starts N processes on this one")
    nproc = 1 if config.get("nproc") is None else config["nproc"]
    if not isinstance(nproc, int) or nproc < 1:
        raise InputError(f"nproc '{nproc}': give the number of processes, 1 or more")
    return nproc


def _own_gpu() -> torch.device:
    """The GPU of this process, where each process of a machine has one."""
    rank, count = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if rank >= count:
        raise InputError(f"process {rank} of this machine finds only {count} GPUs; start no more processes, or set use_gpu: False")
    torch.cuda.set_device(rank)
    return torch.device("cuda", rank)
