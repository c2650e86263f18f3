"""Exceptions that end a command early."""


class InputError(ValueError):
    """Some input of the user is wrong; the message says what, and what to do about it.

    The command line prints the message without a traceback; the app shows it unchanged.
    """


class Stopped(Exception):
    """The user asked to stop before there was anything to keep."""
