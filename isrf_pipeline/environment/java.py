"""Which Java a session would start, and whether it is new enough for Spark."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from isrf_pipeline.errors import EnvironmentMismatchError

#: Spark 4 is compiled for this version.
REQUIRED_JAVA = 17

_MEND = (
    f"install Java {REQUIRED_JAVA} or newer (Debian: apt-get install openjdk-17-jre-headless)"
    " and point JAVA_HOME at it"
)
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


@dataclass(frozen=True)
class JavaRuntime:
    """A Java that was found.

    Attributes
    ----------
    path
        Its executable.
    major
        Its version: 17, 21, or 8 for what calls itself 1.8.
    """

    path: Path
    major: int


def require_java() -> JavaRuntime:
    """Return the Java that Spark would start, which is ``JAVA_HOME``'s or else the first on the path.

    Raises
    ------
    EnvironmentMismatchError
        If there is none, it does not start, or it is older than Spark needs.
    """
    home = os.environ.get("JAVA_HOME")
    if home:
        path = Path(home) / "bin" / "java"
        if not os.access(path, os.X_OK):
            raise EnvironmentMismatchError(f"JAVA_HOME={home}", "holds no bin/java", _MEND)
    else:
        found = shutil.which("java")
        if found is None:
            raise EnvironmentMismatchError("Java", "is not installed, or not on the PATH", _MEND)
        path = Path(found)
    try:
        answer = subprocess.run(
            [str(path), "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentMismatchError(str(path), f"does not start ({type(error).__name__})", _MEND) from None
    version = _VERSION.search(answer.stderr + answer.stdout)
    if version is None:
        raise EnvironmentMismatchError(str(path), "does not tell its version", _MEND)
    major = int(version.group(1))
    if major < REQUIRED_JAVA:
        raise EnvironmentMismatchError(
            str(path), f"is Java {major}, but Spark needs {REQUIRED_JAVA} or newer", _MEND
        )
    return JavaRuntime(path, major)
