"""The exceptions that users are meant to read."""


class UserError(Exception):
    """A mistake the user can mend.

    The message is one line that gives the value, the limit and the remedy; the command line prints
    it without a traceback and exits with code 2.
    """


class Diverged(Exception):
    """Training came to numbers that are not finite, and stopped before it wrote any; the message says what to do."""


class Pruned(Exception):
    """A search stopped this training early, since others were better at the same point; no mistake of anybody's."""


class Interrupted(Exception):
    """Work stopped by a signal after it was saved; the message says how to go on.

    `exit_code` follows the shells' custom: 128 + the signal's number.
    """

    def __init__(self, message: str, exit_code: int):
        super().__init__(message, exit_code)  # both, as pickle makes it anew from these
        self.exit_code = exit_code

    def __str__(self) -> str:
        return str(self.args[0])
