"""How the work on a run may end early: an error's name is its consequence."""


class PermanentError(Exception):
    """The run can't succeed, however often it is tried: a sentence for the operator."""


class RetryableError(Exception):
    """The run ends here for a reason that may pass, and another attempt goes on."""


class WorkerStopping(Exception):
    """The worker was asked to stop: another goes on with the run."""
