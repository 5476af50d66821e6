"""The one hierarchy of errors; every error a user can cause names the input, the rule it broke and the mend."""

from __future__ import annotations


class IsrfError(Exception):
    """Root of all errors raised on purpose.

    Parameters
    ----------
    subject
        The input that is at fault: a file, a key, a table, a column.
    rule
        The rule it broke, as a clause without a final full stop.
    mend
        What the user does to mend it, as a clause without a final full stop.
    """

    exit_code: int = 1

    def __init__(self, subject: str, rule: str, mend: str) -> None:
        super().__init__(subject, rule, mend)
        self.subject = subject
        self.rule = rule
        self.mend = mend

    def __str__(self) -> str:
        """One line: input, rule and mend."""
        return " ".join(f"{self.subject}: {self.rule}; {self.mend}.".split())


class UsageError(IsrfError):
    """A command was called with arguments it cannot take."""

    exit_code = 2


class ConfigurationError(IsrfError):
    """A configuration file or override does not describe valid settings."""

    exit_code = 2


class EnvironmentMismatchError(IsrfError):
    """The machine lacks something that the pipeline needs (Java, jars, a model, write access)."""

    exit_code = 2


class InputRefusedError(IsrfError):
    """Input data is missing or too dirty; nothing was changed."""

    exit_code = 3


class MissingTableError(InputRefusedError):
    """A stage was asked to read a table that no earlier stage has written."""


class QualityGateError(IsrfError):
    """A quality gate stopped the run before anything downstream could read its result."""

    exit_code = 4


class LakeLockedError(IsrfError):
    """Another run holds the lake."""

    exit_code = 5


class ReasoningError(IsrfError):
    """The language model or its engine failed as a whole (a single bad answer is a dead letter, not an error)."""
