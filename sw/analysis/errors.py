"""What this package raises for bad input."""


class AnalysisError(ValueError):
    """A network, a length or a plot that there cannot be; the message is one line."""
