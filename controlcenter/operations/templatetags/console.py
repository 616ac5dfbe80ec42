"""The dashboard, for the front page of the admin."""

from typing import Any

from django import template

from controlcenter.operations.dashboard import board

register = template.Library()


@register.simple_tag(takes_context=True)
def dashboard(context: dict[str, Any]) -> dict[str, Any]:
    """What ``board`` says for the request of the page."""
    return board(context["request"])
