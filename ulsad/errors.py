"""What ends a command early: an error whose message says how to mend it, or the user."""


class InputError(ValueError):
    """Something given by the user is wrong; the message says what, and what to do about it.

    The command line prints it without a traceback, the app shows it as it is.
    """


class Stopped(Exception):
    """The user asked to stop before there was anything to keep."""
