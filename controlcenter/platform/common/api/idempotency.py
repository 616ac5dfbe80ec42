"""The header by which a request that is sent again is known."""

from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

HEADER = "Idempotency-Key"
LONGEST = 200
KEY = OpenApiParameter(
    HEADER,
    str,
    OpenApiParameter.HEADER,
    description="The same key and body give the same task; another body with it gives 409.",
)


def idempotency_key(request: Request) -> str:
    """Raises: ValidationError if it is longer than what is kept."""
    key = request.headers.get(HEADER, "")
    if len(key) > LONGEST:
        raise ValidationError({HEADER: f"has {len(key)} characters, at most {LONGEST}"})
    return key
