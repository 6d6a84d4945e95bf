"""The error of this layer: something that the user can act on, told in one line."""


class SynthError(ValueError):
    """A request that cannot be met, or a tool that failed; the message is one line."""
