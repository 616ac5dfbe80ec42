"""Bases of every room's admin.

``admin`` has the base classes, ``operation_admin`` what operations add to a page, ``operations``
and ``forms`` what a room declares, ``access`` who is asking.
"""

from controlcenter.platform.accounts.console.access import WorkspaceFilter, account_of
from controlcenter.platform.accounts.console.admin import ConsoleAdmin, ScopedAdmin
from controlcenter.platform.accounts.console.operations import Done, Operation

__all__ = ["ConsoleAdmin", "Done", "Operation", "ScopedAdmin", "WorkspaceFilter", "account_of"]
