"""Which device a worker computes on."""


class NoGpu(SystemExit):
    """The worker was told to use a GPU and there is none."""


def choose(preference: str) -> str:
    """``cuda`` or ``cpu``.

    Args:
        preference: ``auto``, ``gpu`` or ``cpu``.

    Raises:
        NoGpu: for ``gpu`` where torch finds no CUDA device: never a silent CPU.
    """
    import torch

    available = torch.cuda.is_available()
    if preference == "gpu" and not available:
        raise NoGpu(
            "UPS_DEVICE is gpu and torch finds no CUDA device: check the driver and that torch "
            "is a CUDA build, or set UPS_DEVICE=auto or cpu"
        )
    return "cuda" if preference != "cpu" and available else "cpu"


def for_task(preference: str) -> str:
    """The device of one task on this worker: the worker's setting bounds what a task may ask.

    Raises:
        NoGpu: if the task or the worker insists on a GPU and there is none.
    """
    from django.conf import settings

    setting: str = settings.DEVICE
    if preference == "auto" or setting == "cpu":
        return choose(setting)
    return choose(preference)
