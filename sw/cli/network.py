"""A model prepared for one configuration: quantised, with a program for every length that is asked for."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from celosia.hw.config import Config
from celosia.sw.cli.cache import calibration_of
from celosia.sw.cli.errors import CliError
from celosia.sw.cli.output import read_text, step
from celosia.sw.compiler.buffers import CompileError
from celosia.sw.compiler.compile import compile_encoder
from celosia.sw.compiler.program import Program
from celosia.sw.compiler.tiling import choose
from celosia.sw.model.bert import BertModel, FloatArray
from celosia.sw.model.calibrate import calibration_ids
from celosia.sw.model.encoder import quantise_embedding
from celosia.sw.model.evaluate import read_pairs
from celosia.sw.model.folder import find_model
from celosia.sw.model.hdp import HdpPolicy
from celosia.sw.model.quantise import QuantiseOptions, quantise
from celosia.sw.model.quantised import Int16, QuantisedEncoder
from celosia.sw.model.reference import embedding_sum, encode, pool


@dataclass
class Network:
    """A model on one configuration. `causal`: tokens attend only to those before them. `policy`: prunes attention."""

    config: Config
    model: BertModel
    encoder: QuantisedEncoder
    causal: bool = False
    policy: HdpPolicy | None = None
    _programs: dict[int, Program] = field(default_factory=dict)

    def program(self, tokens: int) -> Program:
        """The program for sequences of `tokens` tokens. Errors: CliError that names the longest that fits."""
        if tokens > self.model.config.positions:
            raise self._too_long(tokens, f"{self.model.name} has {self.model.config.positions} positions")
        if tokens not in self._programs:
            try:
                with step(f"compiling {self.model.name} for {tokens} tokens"):
                    program = self._compile(tokens)
            except CompileError as error:
                if self.policy is not None and not self._fits(1):
                    raise CliError(str(error)) from None  # the policy cannot run at any length
                raise self._too_long(tokens, str(error)) from None
            self._programs[tokens] = program
        return self._programs[tokens]

    def _compile(self, tokens: int) -> Program:
        return compile_encoder(self.config, self.encoder, tokens, causal=self.causal, policy=self.policy)

    def input(self, ids: list[int]) -> Int16:
        """int16 embedding sums [tokens, hidden] of token ids: the program's input `x`."""
        return quantise_embedding(self.encoder, embedding_sum(self.model, [ids])[0])

    def embedding(self, y: Int16) -> FloatArray:
        """Sentence embedding of unit length from the program's output `y`."""
        return pool(y * np.float32(self.encoder.scale_out))

    def float_embedding(self, ids: list[int]) -> FloatArray:
        """The same by the float model."""
        result: FloatArray = pool(encode(self.model, embedding_sum(self.model, [ids]), causal=self.causal))[0]
        return result

    def longest(self, below: int) -> int:
        """Tokens of the longest sequence, shorter than `below`, that fits the accelerator; 0 when none does."""
        low, high = 0, min(below - 1, self.model.config.positions)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._fits(middle) else (low, middle - 1)
        return low

    def _fits(self, tokens: int) -> bool:
        try:
            choose(self.config, tokens, self.encoder.hidden, self.encoder.heads, self.encoder.ffn)  # quick
            self._compile(tokens)
        except CompileError:
            return False
        return True

    def _too_long(self, tokens: int, reason: str) -> CliError:
        with step("looking for the longest sequence that fits"):
            longest = self.longest(tokens)
        if not longest:
            return CliError(f"{self.model.name} does not fit: {reason}")
        return CliError(f"a sequence of {tokens} tokens does not fit: {reason}; the longest that fits has {longest}")


def prepare(
    config: Config,
    model: BertModel,
    calibration: Path | None = None,
    causal: bool = False,
    policy: HdpPolicy | None = None,
) -> Network:
    """Calibrate and quantise a model. Errors: CliError, ModelError."""
    sentences = None if calibration is None else sentences_of(calibration)
    ranges = calibration_of(model, calibration_ids(model, sentences))
    options = QuantiseOptions(table_bits=config.post.table_bits, softmax=config.post.softmax, gelu=config.post.gelu)
    return Network(config, model, quantise(model, ranges, options), causal, policy)


def token_ids(model: BertModel, texts: list[str]) -> list[list[int]]:
    """Token ids of texts. Errors: CliError for a text that the model's positions do not hold, instead of cutting it."""
    result = model.tokenize(texts)
    positions = model.config.positions
    for text, ids in zip(texts, result, strict=True):
        # The model's tokenizer cuts in silence: only a sequence of full length may have been cut.
        if len(ids) == positions and (tokens := _uncut(model, text)) > positions:
            raise CliError(
                f"a sequence of {tokens} tokens does not fit: {model.name} has {positions} positions; the longest that "
                f"fits has {positions}"
            )
    return result


def _uncut(model: BertModel, text: str) -> int:
    """Tokens of a text, however long it is."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(find_model(model.name) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return len(tokenizer.encode(text).ids)


def sentences_of(path: Path) -> list[str]:
    """Sentences of a file: one a line, or both of each row of a .csv of pairs. Errors: CliError, ModelError."""
    if path.suffix.lower() == ".csv":
        pairs = read_pairs(path)
        return pairs.first + pairs.second
    lines = [line.strip() for line in read_text(path).splitlines()]
    if not any(lines):
        raise CliError(f"{path} holds no sentences")
    return [line for line in lines if line]
