"""Make a workspace and its owner, and show a token once."""

import os
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_slug
from django.db import transaction

from controlcenter.platform.accounts.models import Account, Workspace
from controlcenter.platform.accounts.services import create_workspace, issue_token


class Command(BaseCommand):
    """The password comes from the environment, never from a command line that others can read."""

    help = "Make a workspace with an owner (password from UPS_OWNER_PASSWORD) and print a token."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="short name, as in ?workspace=slug")
        parser.add_argument("owner", help="name of the account that owns it; made if need be")
        parser.add_argument("--name", default="", help="what people call it")
        parser.add_argument("--staff", action="store_true", help="let the owner into the admin")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        slug: str = options["slug"]
        if Workspace.objects.filter(slug=slug).exists():
            raise CommandError(f"there is a workspace {slug!r} already")
        try:
            validate_slug(slug)
        except ValidationError as error:
            raise CommandError(
                f"got {slug!r}, expected a slug: letters, digits, hyphens and underscores"
            ) from error
        account = Account.objects.filter(username=options["owner"]).first()
        if account is None:
            password = os.environ.get("UPS_OWNER_PASSWORD", "")
            if len(password) < 8:
                raise CommandError(
                    f"there is no account {options['owner']!r}: give a password of at least 8 "
                    "characters in UPS_OWNER_PASSWORD to make it"
                )
            account = Account.objects.create_user(options["owner"], password=password)
        if options["staff"]:
            Account.objects.filter(pk=account.pk).update(is_staff=True)
        create_workspace(slug=slug, name=options["name"] or slug, owner=account)
        _, token = issue_token(account=account, name=f"createworkspace {slug}")
        self.stdout.write(token)
