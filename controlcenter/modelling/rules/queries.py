"""Reads of the rule set."""

from controlcenter.modelling.rules.models import RuleRevision
from controlcenter.platform.accounts.models import Workspace
from ml.contracts.schema import GraphSchema
from ml.rules.rule_set import Rule, RuleError, compile_rule


def current_revision(workspace: Workspace) -> RuleRevision | None:
    """The newest revision, or None where there never was a rule."""
    return RuleRevision.objects.filter(workspace=workspace).first()


def applicable(
    rules: list[dict[str, object]], schema: GraphSchema
) -> tuple[list[Rule], dict[str, str]]:
    """The rules that the schema can run, and why the others can't.

    A rule written for one schema stays when a dataset of another comes; it sits out, and that is
    said on the model version and in the list of rules.
    """
    usable: list[Rule] = []
    sitting_out: dict[str, str] = {}
    for data in rules:
        rule = Rule(str(data["name"]), str(data["expression"]), float(str(data["weight"])))
        try:
            compile_rule(rule.expression, schema)
        except RuleError as error:
            sitting_out[rule.name] = str(error)
        else:
            usable.append(rule)
    return usable, sitting_out
