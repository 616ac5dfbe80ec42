"""Errors that services raise and the API turns into problem details."""

from rest_framework import exceptions, status


class Conflict(exceptions.APIException):
    """What was asked does not fit the state things are in."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"
    default_detail = "This does not fit the current state."


class Unavailable(exceptions.APIException):
    """A part the answer needs is not there right now; ask again."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unavailable"
    default_detail = "Not available right now; try again."
