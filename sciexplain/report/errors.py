"""What a report refuses."""


class ReportError(ValueError):
    """Something given to a report cannot be shown; the message names it and what can."""
