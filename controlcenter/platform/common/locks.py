"""Every advisory lock of the system, and how it is taken.

Who takes several takes them in the order of ``LOCKS``, and after the rows of task and run: so
nobody waits in a circle. A lock's key is a hash of its name and what it is taken for; processes of
another release compute the same number, so a name never changes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import connection

KEY = "hashtextextended({text}, 0)"


@dataclass(frozen=True)
class AdvisoryLock:
    """One kind of lock.

    Args:
        name: What its keys begin with.
        of: What one is taken for; empty: there is one for all.
        guards: What it keeps apart, in a sentence.
    """

    name: str
    of: str
    guards: str

    def text(self, subject: object = "") -> str:
        """What the key is hashed from.

        Raises:
            ValueError: if a subject is given to a lock that has none, or none to one that has.
        """
        if bool(self.of) != bool(str(subject)):
            expected = f"a {self.of}" if self.of else "nothing"
            raise ValueError(f"lock {self.name!r}: got {subject!r}, expected {expected}")
        return f"{self.name} {subject}" if self.of else self.name


REAPER = AdvisoryLock(
    "ups reaper", of="", guards="One reaper at a time; held by a session for the whole round."
)
TASK_QUEUE = AdvisoryLock(
    "queue", of="workspace", guards="One task of a workspace at a time is found to be the next."
)
POOL = AdvisoryLock("pool", of="pool", guards="One claim at a time counts the places of a pool.")
MERGE = AdvisoryLock(
    "merge",
    of="workspace",
    guards="Many writers of events share it; a refresh that merges its profiles is alone.",
)

LOCKS = (REAPER, TASK_QUEUE, POOL, MERGE)
"""In the order in which they are taken."""


def acquire(lock: AdvisoryLock, subject: object = "") -> None:
    """Hold a lock until the transaction ends."""
    execute(expression("%(text)s"), lock.text(subject))


def acquire_shared(lock: AdvisoryLock, subject: object = "") -> None:
    """Hold a lock beside others who share it, until the transaction ends."""
    execute(expression("%(text)s", shared=True), lock.text(subject))


@contextmanager
def try_for_session(lock: AdvisoryLock, subject: object = "") -> Iterator[bool]:
    """Hold a lock while the block runs, whatever transactions end in it.

    Yields:
        Whether it was free. If not, the block runs without it.
    """
    text = lock.text(subject)
    is_held = execute(f"pg_try_advisory_lock({KEY.format(text='%(text)s')})", text)
    try:
        yield bool(is_held)
    finally:
        if is_held:
            execute(f"pg_advisory_unlock({KEY.format(text='%(text)s')})", text)


def expression(parameter: str, *, shared: bool = False) -> str:
    """The call that takes a lock until the transaction ends, for a statement that does more.

    Args:
        parameter: Placeholder of ``AdvisoryLock.text``.
    """
    function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    return f"{function}({KEY.format(text=parameter)})"


def execute(call: str, text: str) -> object:
    """The value of one call.

    Args:
        call: With the placeholder ``%(text)s``.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {call}", {"text": text})
        return cursor.fetchone()[0]
