"""The error of everything that concerns a model's files and shapes."""


class ModelError(ValueError):
    """A model, or a file of one, that cannot be used; the message is one line that names the file and the reason."""
