"""Which code made a model: the commit, or the release."""

import functools
import os
import shutil
import subprocess

from django.conf import settings

RELEASE = "0.1.0"


@functools.cache
def code_version() -> str:
    """``UPS_CODE_VERSION`` of the image, else the checkout's commit, else the release."""
    given = os.environ.get("UPS_CODE_VERSION", "")
    if given:
        return given
    git = shutil.which("git")
    if git is None:
        return RELEASE
    answer = subprocess.run(
        [git, "-C", str(settings.BASE_DIR), "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or RELEASE
