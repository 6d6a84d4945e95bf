"""Attention alone as a program: Q, K and V come from memory as codes, and the context goes there."""

from celosia.hw.config import Config
from celosia.hw.garbage import without_collection
from celosia.sw.compiler.attention import AttentionLowering
from celosia.sw.compiler.buffers import CompileError
from celosia.sw.compiler.builder import Builder
from celosia.sw.compiler.compile import link
from celosia.sw.compiler.program import INPUTS, Program
from celosia.sw.compiler.pruned import PrunedLowering
from celosia.sw.compiler.pruning import LayerPruning
from celosia.sw.compiler.sizes import side
from celosia.sw.compiler.tensors import round_up
from celosia.sw.compiler.tiling import Choice, choices
from celosia.sw.model.quantised import QuantisedLayer


def compile_heads(
    config: Config, layer: QuantisedLayer, tokens: int, heads: int, head: int, pruning: LayerPruning | None = None
) -> Program:
    """A program for `heads` heads of `head` channels; dense, or under `pruning`.

    Inputs `query`, `key`, `value`, output `context`: int8 [tokens, heads * head]. Of `layer`, `score` and `context`
    alone count. Errors: CompileError that says what would fit.
    """
    if head % side(config):
        raise CompileError(f"heads must be a multiple of {side(config)} channels wide on this array, not {head}")
    errors = []
    for choice in choices(config, tokens, heads * head, heads, heads * head, pruned=pruning is not None):
        try:
            with without_collection():
                return _compile(config, layer, choice, pruning)
        except CompileError as error:
            errors.append(error)
    raise errors[0]


def _compile(config: Config, layer: QuantisedLayer, choice: Choice, pruning: LayerPruning | None) -> Program:
    builder, tokens = Builder(config, choice.tiling), choice.tiling.tokens
    names = {"query": False, "key": True, "value": True, "context": False}
    tensors = {name: builder.heads_tensor(name, operand) for name, operand in names.items()}
    query, key, value, context = tensors.values()
    parts = (builder, "layer", layer, tokens, False, query, key, value, context, choice.mapping.attention)
    (AttentionLowering(*parts) if pruning is None else PrunedLowering(*parts, pruning=pruning)).build()
    end = 0
    for name, tensor in tensors.items():
        end = round_up(tensor.place(INPUTS, end), 4096)
        for tile in tensor.tiles.values():
            tile.loaded, tile.output = name != "context", name == "context"
    program = link(config, builder.steps, builder.constants.image(), end)
    images = {name: tensor.image((tokens, choice.tiling.width)) for name, tensor in tensors.items()}
    program.outputs = {"context": images.pop("context")}
    program.inputs = images
    program.macs = 2 * tokens**2 * choice.tiling.width
    return program
