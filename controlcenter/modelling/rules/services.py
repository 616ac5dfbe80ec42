"""Rules change here; each change is a new revision of the set."""

from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from rest_framework.exceptions import NotFound, ValidationError

from controlcenter.modelling.rules.models import Rule, RuleRevision
from controlcenter.platform.accounts.models import Account, Workspace
from controlcenter.platform.audit.services import SYSTEM, record
from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.common.hooks import Hook
from ml.rules.rule_set import DEFAULT_RULES, RuleError, compile_rule

rules_changed: Hook[[Workspace, Account | None]] = Hook()
MAX_RULES = 64


def check_expression(expression: str, workspace: Workspace) -> None:
    """Raises: ValidationError with position and reason if the workspace's schema can't run it."""
    try:
        compile_rule(expression, workspace.graph_schema)
    except RuleError as error:
        raise ValidationError({"expression": str(error)}) from error


def revise(workspace: Workspace, *, actor: str, change: str) -> RuleRevision:
    """Write the next revision of the set; the caller holds the workspace's lock."""
    last = RuleRevision.objects.filter(workspace=workspace).first()
    rules = list(Rule.objects.filter(workspace=workspace).values("name", "expression", "weight"))
    return RuleRevision.objects.create(
        workspace=workspace,
        revision=(last.revision if last else 0) + 1,
        rules=rules,
        actor=actor,
        change=change,
    )


@transaction.atomic
def add_defaults(workspace: Workspace) -> None:
    """The four rules a new workspace begins with."""
    for rule in DEFAULT_RULES:
        Rule.objects.create(
            workspace=workspace, name=rule.name, expression=rule.expression, weight=rule.weight
        )
    revise(workspace, actor=SYSTEM, change="default rules")


def locked(workspace: Workspace) -> Workspace:
    """The locked row of the workspace: one change of its rules at a time."""
    return Workspace.objects.select_for_update().get(pk=workspace.pk)


def current(rule: Rule) -> Rule:
    """The rule as it is now, locked.

    Raises:
        NotFound: if somebody deleted it meanwhile.
    """
    row = Rule.objects.select_for_update().filter(pk=rule.pk).first()
    if row is None:
        raise NotFound(f"Rule {rule.name!r} was deleted meanwhile.")
    return row


def changed(workspace: Workspace, account: Account, rule: Rule, action: str) -> None:
    """Note a change of a rule: its revision, the audit, and whom the hook tells."""
    revise(workspace, actor=account.username, change=f"{action} {rule.name}")
    details = {"name": rule.name, "expression": rule.expression, "weight": rule.weight}
    record(
        account=account, workspace=workspace, action=f"rule.{action}", target=rule, details=details
    )
    rules_changed(workspace, account)


@transaction.atomic
def create(*, workspace: Workspace, account: Account, fields: dict[str, Any]) -> Rule:
    """Add a rule.

    Raises:
        ValidationError: for an expression that does not parse or a name that is taken.
        Conflict: if the set is full.
    """
    workspace = locked(workspace)
    check_expression(fields["expression"], workspace)
    existing = Rule.objects.filter(workspace=workspace)
    if existing.filter(name=fields["name"]).exists():
        raise ValidationError({"name": f"there is a rule {fields['name']!r} already"})
    if existing.count() >= MAX_RULES:
        raise Conflict(f"A workspace has at most {MAX_RULES} rules: delete one first.")
    rule = Rule.objects.create(workspace=workspace, **fields)
    changed(workspace, account, rule, "create")
    return rule


@transaction.atomic
def update(*, rule: Rule, account: Account, fields: dict[str, Any]) -> Rule:
    """Change a rule; nothing happens where nothing differs.

    Raises:
        ValidationError: for an expression that does not parse or a name that is taken.
    """
    workspace = locked(rule.workspace)
    rule = current(rule)
    if all(getattr(rule, name) == value for name, value in fields.items()):
        return rule
    if "expression" in fields:
        check_expression(fields["expression"], workspace)
    name = fields.get("name", rule.name)
    if Rule.objects.filter(workspace=workspace, name=name).exclude(pk=rule.pk).exists():
        raise ValidationError({"name": f"there is a rule {name!r} already"})
    for field, value in fields.items():
        setattr(rule, field, value)
    rule.save(update_fields=list(fields))
    Rule.objects.filter(pk=rule.pk).update(updated_at=Now())
    changed(workspace, account, rule, "update")
    return Rule.objects.select_related("workspace").get(pk=rule.pk)


@transaction.atomic
def delete(*, rule: Rule, account: Account) -> None:
    """Remove a rule."""
    workspace = locked(rule.workspace)
    rule = current(rule)
    gone = Rule(pk=rule.pk, name=rule.name, expression=rule.expression, weight=rule.weight)
    rule.delete()
    changed(workspace, account, gone, "delete")
