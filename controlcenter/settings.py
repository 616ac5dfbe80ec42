"""Settings of the control center and the workers, read from ``UPS_`` environment variables.

A server URL that is not given means the embedded server of the data directory.
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import environ
import structlog

from controlcenter.embedded import locate

ENVIRONMENT: dict[str, str] = {
    "UPS_DATABASE_URL": "PostgreSQL with pgvector, postgres://user:password@host:port/name",
    "UPS_BROKER_URL": "Celery's broker, redis://… (Valkey) or amqp://… (RabbitMQ)",
    "UPS_OBJECT_STORE_URL": "S3 endpoint, http(s)://access:secret@host:port/bucket",
    "UPS_DEVICE": "auto, gpu or cpu; gpu without CUDA is an error at start",
    "UPS_DATA_DIR": "folder of the embedded servers, secrets and logs",
    "UPS_SECRET_KEY": "Django's secret key",
    "UPS_DEBUG": "1 for development only",
    "UPS_ALLOWED_HOSTS": "comma-separated host names the control center answers to",
    "UPS_CSRF_TRUSTED_ORIGINS": "comma-separated origins, with scheme",
    "UPS_HTTP_PORT": "port of the control center",
    "UPS_FLOWER_PORT": "port of Flower",
    "UPS_FLOWER_URL": "address of Flower as operators reach it, shown in the console",
    "UPS_UPLOAD_LIMIT_BYTES": "largest accepted upload",
    "UPS_UNPACKED_LIMIT_BYTES": "largest accepted size of an upload once unpacked",
    "UPS_LEASE_SECONDS": "length of a run's lease",
    "UPS_RUN_ATTEMPTS": "attempts at a run whose worker was lost",
    "UPS_PRIORITY_MINUTES": "minutes of waiting that a point of priority is worth",
    "UPS_POOL_LIMITS": "how many runs of a queue go at once, as refresh-gpu=1;refresh=4",
    "UPS_EXPLANATION_WAIT_SECONDS": "how long a request waits for an explanation",
    "UPS_STALE_READ_WAIT_MS": "how long a read of a stale profile waits for a fresh one",
    "UPS_INCREMENTAL_CHECKPOINT_SECONDS": "how often the incremental refresh saves its state",
    "UPS_WEBHOOK_ATTEMPTS": "attempts at a webhook's delivery before it is given up",
    "UPS_WEBHOOK_PRIVATE_ADDRESSES": "1: webhooks may point to private and loopback addresses",
    "UPS_LOG_LEVEL": "DEBUG, INFO, WARNING or ERROR",
    "UPS_METRICS_TOKEN": "bearer token that Prometheus must show at /metrics; empty: none",
    "UPS_TOKEN_DAYS": "days an API token lives",
    "UPS_CODE_VERSION": "commit or release that the image was built from",
}

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = locate.data_dir()


def server_url(name: str) -> str:
    """The URL from the environment, else the embedded server's.

    Raises:
        RuntimeError: if neither is there; the message says what to run.
    """
    given: str = env.str(name, default="")
    return given or locate.embedded_urls(DATA_DIR)[name]


DEBUG: bool = env.bool("UPS_DEBUG", default=False)
SECRET_KEY: str = (
    env.str("UPS_SECRET_KEY", default="") or locate.secrets(DATA_DIR)["django_secret_key"]
)
ALLOWED_HOSTS: list[str] = env.list(
    "UPS_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"]
)
CSRF_TRUSTED_ORIGINS: list[str] = env.list("UPS_CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "controlcenter.operations",
    "controlcenter.lineage",
    "controlcenter.serving.ingestion",
    "controlcenter.modelling.evaluations",
    "controlcenter.serving.profiles",
    "controlcenter.serving.incremental",
    "controlcenter.modelling.rollouts",
    "controlcenter.modelling.registry",
    "controlcenter.modelling.datasets",
    "controlcenter.modelling.rules",
    "controlcenter.modelling.task_schedules",
    "controlcenter.modelling.tasks",
    "controlcenter.platform.schedules",
    "controlcenter.platform.webhooks",
    "controlcenter.platform.runs",
    "controlcenter.platform.artifacts",
    "controlcenter.platform.log",
    "controlcenter.platform.audit",
    "controlcenter.platform.accounts",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "knox",
    "django_filters",
    "django_celery_beat",
    "django_fsm",
    "django_structlog",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "controlcenter.platform.common.middleware.nul_characters.RefuseNul",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "controlcenter.platform.common.middleware.request_id.RequestIdMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "controlcenter.urls"
ASGI_APPLICATION = "controlcenter.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "controlcenter" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES: dict[str, Any] = {"default": env.db_url_config(server_url("UPS_DATABASE_URL"))}
DATABASES["default"] |= {
    "ENGINE": "django.db.backends.postgresql",
    "CONN_MAX_AGE": 0,
    "ATOMIC_REQUESTS": False,
    "OPTIONS": {"connect_timeout": 5, "application_name": "ups"},
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.Account"
AUTHENTICATION_BACKENDS = ["controlcenter.platform.accounts.backends.LimitedBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
LOGIN_URL = "/admin/login/"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"

UPLOAD_LIMIT_BYTES: int = env.int("UPS_UPLOAD_LIMIT_BYTES", default=2 * 2**30)
UNPACKED_LIMIT_BYTES: int = env.int("UPS_UNPACKED_LIMIT_BYTES", default=8 * 2**30)
DATA_UPLOAD_MAX_MEMORY_SIZE = 32 * 2**20
FILE_UPLOAD_MAX_MEMORY_SIZE = 2**20

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "controlcenter.platform.accounts.authentication.ApiTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["controlcenter.platform.accounts.permissions.RolePermission"],
    "DEFAULT_FILTER_BACKENDS": [
        "controlcenter.platform.common.api.filters.FilterBackend",
        "controlcenter.platform.common.api.filters.OrderingBackend",
    ],
    "DEFAULT_PAGINATION_CLASS": "controlcenter.platform.common.api.paging.Pages",
    "DEFAULT_SCHEMA_CLASS": "controlcenter.platform.common.api.openapi.ProblemSchema",
    "DEFAULT_RENDERER_CLASSES": [
        "rest_framework.renderers.JSONRenderer",
        "rest_framework.renderers.BrowsableAPIRenderer",
    ],
    "DEFAULT_PARSER_CLASSES": ["controlcenter.platform.common.api.parsers.BoundedJSONParser"],
    "EXCEPTION_HANDLER": "controlcenter.platform.common.api.problems.handle",
    "HTML_SELECT_CUTOFF": 100,
}
# Its only model is swapped for ours; its migrations would make the table all the same.
MIGRATION_MODULES = {"knox": None}
KNOX_TOKEN_MODEL = "accounts.Token"  # noqa: S105 (a model's name)
REST_KNOX = {
    "TOKEN_TTL": timedelta(days=env.int("UPS_TOKEN_DAYS", default=90)),
    "AUTH_HEADER_PREFIX": "Token",
    "TOKEN_PREFIX": "ups_",
}

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "User Profile System",
    "DESCRIPTION": "Profiles of users, their scores, and what each score is made of.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "TaskState": "controlcenter.modelling.tasks.states.CHOICES",
        "RunStatus": "controlcenter.platform.runs.models.RunStatus",
        "DatasetState": "controlcenter.modelling.datasets.models.DatasetState",
        "Role": "controlcenter.platform.accounts.models.Role",
        "ExplanationState": "controlcenter.serving.profiles.models.ExplanationState",
        "DeliveryStatus": "controlcenter.platform.webhooks.models.DeliveryStatus",
        "IncrementalState": "controlcenter.operations.incremental.STATES",
    },
}

BROKER_URL = server_url("UPS_BROKER_URL")
OBJECT_STORE_URL = server_url("UPS_OBJECT_STORE_URL")
DEVICE: str = env.str("UPS_DEVICE", default="auto")
if DEVICE not in {"auto", "gpu", "cpu"}:
    raise RuntimeError(f"UPS_DEVICE is {DEVICE!r}, expected auto, gpu or cpu")
LEASE_SECONDS: int = env.int("UPS_LEASE_SECONDS", default=30)
RUN_ATTEMPTS: int = env.int("UPS_RUN_ATTEMPTS", default=5)
PRIORITY_MINUTES: int = env.int("UPS_PRIORITY_MINUTES", default=10)
POOL_LIMITS: dict[str, int] = env.dict("UPS_POOL_LIMITS", cast={"value": int}, default={})
EXPLANATION_WAIT_SECONDS: float = env.float("UPS_EXPLANATION_WAIT_SECONDS", default=5.0)
STALE_READ_WAIT_MS: int = env.int("UPS_STALE_READ_WAIT_MS", default=200)
INCREMENTAL_CHECKPOINT_SECONDS: int = env.int("UPS_INCREMENTAL_CHECKPOINT_SECONDS", default=300)
WEBHOOK_ATTEMPTS: int = env.int("UPS_WEBHOOK_ATTEMPTS", default=10)
WEBHOOK_PRIVATE_ADDRESSES: bool = env.bool("UPS_WEBHOOK_PRIVATE_ADDRESSES", default=False)
METRICS_TOKEN: str = env.str("UPS_METRICS_TOKEN", default="")
FLOWER_URL: str = env.str("UPS_FLOWER_URL", default="")
HTTP_PORT: int = env.int("UPS_HTTP_PORT", default=8000)

LOG_LEVEL: str = env.str("UPS_LOG_LEVEL", default="INFO")
DJANGO_STRUCTLOG_CELERY_ENABLED = False
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processor": structlog.processors.JSONRenderer(),
            "foreign_pre_chain": [
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso"),
                structlog.processors.format_exc_info,
            ],
        }
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": sys.stderr}
    },
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {"django.server": {"handlers": ["stderr"], "propagate": False}},
}
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.filter_by_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
