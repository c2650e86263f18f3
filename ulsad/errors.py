"""Exceptions that end a command early."""


class InputError(ValueError):
    """Some input of the user is wrong; the message says what, and what to do about it.

    The command line prints the message without a traceback; the app shows it unchanged.
    """


class Differs(Exception):
    """What was checked is not as it was written down; the command has said so."""


class Stopped(Exception):
    """The user asked to stop before there was anything to keep."""
