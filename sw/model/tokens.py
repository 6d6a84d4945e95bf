"""Tokenizers of published models."""

from pathlib import Path

from celosia.sw.model.errors import ModelError


class Tokenizer:
    """The tokenizer of a `tokenizer.json`, without padding and truncated to the model's positions."""

    def __init__(self, path: Path, positions: int) -> None:
        """`positions`: longest sequence in tokens. Errors: ModelError when the file cannot be read."""
        import tokenizers  # a compiled library that only a run on text needs

        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises the bare Exception
            raise ModelError(f"{path} is not a tokenizer: {str(error).splitlines()[0]}") from None
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(positions)

    def encode(self, sentences: list[str]) -> list[list[int]]:
        """Token ids of each sentence, with the model's special tokens."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(sentences)]
