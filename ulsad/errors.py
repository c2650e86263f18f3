"""The one exception that a user can act on."""


class InputError(ValueError):
    """Something given by the user is wrong; the message says what, and what to do about it.

    The command line prints it without a traceback, the app shows it as it is.
    """
