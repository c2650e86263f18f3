"""The one error of our own: its message says what is wrong and how to mend it."""


class InputError(ValueError):
    """Something given by the user is wrong; the message says what, and what to do about it.

    The command line prints it without a traceback, the app shows it as it is.
    """
