import torch


class InterruptProcessingException(Exception):
    pass


interrupted = False


def get_torch_device() -> torch.device:
    return torch.device("cpu")


def processing_interrupted() -> bool:
    return interrupted


def throw_exception_if_processing_interrupted() -> None:
    if interrupted:
        raise InterruptProcessingException


def free_memory(memory_required: int, device: torch.device) -> None:
    pass
