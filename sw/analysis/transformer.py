"""Transformers: encoders that see a whole sequence, and decoders that generate with a key-value cache."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from celosia.sw.analysis.errors import AnalysisError
from celosia.sw.analysis.operations import Elementwise, Matmul, Operation

PROJECTIONS, ATTENTION, FFN, OTHER = "MHA projections", "MHA act-to-act", "FFN", "other"
"""Rows of table 3."""

SOFTMAX_FLOPS = 4
"""An element. By a fit to table 3, which prints only 4 h l^2 + 58 l d, the sum with all that follows."""
GELU_FLOPS, NORM_FLOPS = 10, 18
"""Our shares of the 58: 10 for each of d_ffn = 4 d elements of GELU, 18 for both LayerNorms and residual additions."""

MOST_STEPS = 16384
"""Of a decoder, each with operations of its own."""
MOST_CHANNELS = 1 << 24
"""Or heads, or layers."""
MOST_TOKENS = 1 << 24
"""Of an encoder."""


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """`layers` layers of `hidden` channels, `heads` heads and `ffn` channels between the two matmuls of an FFN.

    `decoder`: generates tokens one at a time, each attending to those before it. Errors: AnalysisError.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    ffn: int
    decoder: bool = False

    def __post_init__(self) -> None:
        for field in ("layers", "hidden", "heads", "ffn"):
            if not 1 <= getattr(self, field) <= MOST_CHANNELS:
                raise AnalysisError(f"{field} must be from 1 to {MOST_CHANNELS}, not {getattr(self, field)}")
        if self.hidden % self.heads:
            divisors = (count for count in range(1, self.hidden + 1) if self.hidden % count == 0)
            near = min(divisors, key=lambda count: abs(count - self.heads))
            raise AnalysisError(
                f"heads must divide hidden = {self.hidden}, not {self.heads}; the nearest legal value is {near}"
            )

    def operations(self, tokens: int) -> list[Operation]:
        """Operations of all layers for `tokens` tokens; of a decoder those of every step added up.

        Errors: AnalysisError for a length that there cannot be.
        """
        check_tokens(tokens, self.decoder)
        if not self.decoder:
            return [_times(o, self.layers) for o in layer(self, tokens, tokens)]
        return _decoder(self, tokens)

    def steps(self, tokens: int) -> Iterator[list[Operation]]:
        """Operations of one layer at a time: once for an encoder, for every token that a decoder generates.

        Errors: AnalysisError for a length that there cannot be.
        """
        check_tokens(tokens, self.decoder)
        if not self.decoder:
            yield layer(self, tokens, tokens)
            return
        for past in range(1, tokens + 1):
            yield layer(self, 1, past)


def check_tokens(tokens: int, decoder: bool = False) -> None:
    """Errors: AnalysisError for fewer than one token, or more than are analysed."""
    most = MOST_STEPS if decoder else MOST_TOKENS
    if tokens < 1:
        raise AnalysisError(f"tokens must be at least 1, not {tokens}")
    if tokens > most:
        raise AnalysisError(
            f"tokens of {'a decoder' if decoder else 'an encoder'} must be at most {most}, not {tokens}"
        )


def layer(net: Transformer, rows: int, past: int) -> list[Operation]:
    """One layer on `rows` tokens that attend to `past` tokens: an encoder has rows = past = l, a decoder rows = 1.

    With l = rows = past, the rows of table 3 follow from the operations below:

    - projections: four matmuls l x d by d x d with bias: F = 4 * 2 l d^2 = 8 l d^2, M = 4 (d^2 + 2 l d);
    - act-to-act: for each of h heads Q K^T, l x d/h by d/h x l, F = (2 d/h - 1) l^2, and P V, l x l by l x d/h,
      F = (2 l - 1) l d/h: F = h l^2 (2 d/h - 1) + l d (2 l - 1); Q, K, V and the result have l d elements, scores
      leave and enter: M = 4 l d + 2 h l^2;
    - FFN: l x d by d x d_ffn and back, with bias: F = 4 l d d_ffn, M = 2 d d_ffn + 2 (l d + l d_ffn);
    - other: F = 4 h l^2 + 58 l d, M = 2 h l^2 + 17 l d + 4 d (see `_elementwise`).

    Keys and values of earlier tokens come from the cache: they are the right operands of the act-to-act matmuls and
    counted there; the new ones are written as results of their projections.
    """
    d, head = net.hidden, net.hidden // net.heads

    def linear(name: str, group: str, k: int, n: int, wide: bool) -> Matmul:
        return Matmul(name=name, group=group, m=rows, k=k, n=n, bias=True, wide=wide)

    def attend(name: str, k: int, n: int, wide: bool) -> Matmul:
        return Matmul(name=name, group=ATTENTION, m=rows, k=k, n=n, count=net.heads, wide=wide)

    softmax, gelu, norms = _elementwise(net, rows, past)
    return [
        *(linear(name, PROJECTIONS, d, d, wide=False) for name in ("W_Q", "W_K", "W_V")),
        attend("Q x K", head, past, wide=True),
        softmax,
        attend("P x V", past, head, wide=False),
        linear("W_out", PROJECTIONS, d, d, wide=True),
        linear("W_1", FFN, d, net.ffn, wide=True),
        gelu,
        linear("W_2", FFN, net.ffn, d, wide=True),
        norms,
    ]


def _elementwise(net: Transformer, rows: int, past: int) -> tuple[Elementwise, Elementwise, Elementwise]:
    """Softmax, GELU, and both residual additions with their LayerNorms.

    Table 3, M = 2 h l^2 + 17 l d + 4 d: softmax and GELU read and write a byte for each element, 2 h l^2 and 8 l d of
    it with d_ffn = 4 d; 9 l d + 4 d remain for the rest, with 4 d parameters of two LayerNorms. Table 5, M = 5 h l^2 +
    36 l d + 16 d: softmax and GELU read four bytes and write one, 5 h l^2 and 20 l d; 16 l d + 16 d remain, parameters
    at four bytes. The survey prints the sums only: for other ratios of d_ffn to d these shares are ours.
    """
    scores, inner, outer, d = net.heads * rows * past, rows * net.ffn, rows * net.hidden, net.hidden
    return (
        Elementwise(name="softmax", group=OTHER, elements=scores, flops=SOFTMAX_FLOPS * scores, mops=2 * scores,
                    bytes=5 * scores),
        Elementwise(name="GELU", group=OTHER, elements=inner, flops=GELU_FLOPS * inner, mops=2 * inner,
                    bytes=5 * inner),
        Elementwise(name="residuals, LayerNorms", group=OTHER, elements=2 * outer, flops=NORM_FLOPS * outer,
                    mops=9 * outer + 4 * d, bytes=16 * outer + 16 * d),
    )  # fmt: skip


def _times(operation: Operation, count: int) -> Operation:
    if isinstance(operation, Elementwise):
        o = operation
        return replace(
            o, elements=o.elements * count, flops=o.flops * count, mops=o.mops * count, bytes=o.bytes * count
        )
    return replace(operation, count=operation.count * count)


def _decoder(net: Transformer, tokens: int) -> list[Operation]:
    """Generation of `tokens` tokens without a prompt: step i is one row that attends to i tokens.

    Weights are read again for every token, which is why the intensity is close to two whatever the length.
    """
    listed: list[Operation] = []
    for past in range(1, tokens + 1):
        for operation in layer(net, 1, past):
            # Only the matmuls and the softmax of the attention grow with the cache.
            if operation.group == ATTENTION or operation.name == "softmax":
                listed.append(_times(operation, net.layers))
            elif past == 1:
                listed.append(_times(operation, net.layers * tokens))
    return listed
