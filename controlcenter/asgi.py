"""The ASGI application that gunicorn's uvicorn workers serve."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlcenter.settings")
django_application = get_asgi_application()

from controlcenter.common.body_limit import BodyLimit  # noqa: E402 (settings must be loaded)

application = BodyLimit(django_application)
