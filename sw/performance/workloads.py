"""Predictions of the named workloads: no weights, no calibration, nothing kept."""

from celosia.hw.config import Config
from celosia.sw.compiler.compile import compile_encoder
from celosia.sw.compiler.program import Program
from celosia.sw.performance.blank import blank_encoder
from celosia.sw.performance.channels import Memory
from celosia.sw.performance.prediction import Prediction, predict
from celosia.sw.workloads import WORKLOADS, Geometry

PUBLISHED: dict[str, tuple[int, Geometry]] = {"minilm": (6, Geometry(hidden=384, heads=12, ffn=1536))}
"""Layers and shape of published networks: a prediction needs neither their files nor their weights."""


def compile_workload(config: Config, name: str) -> Program:
    """A named workload as a program with weights of zeros.

    Errors: KeyError for an unknown name; CompileError when it does not fit.
    """
    one = WORKLOADS[name]
    layers, shape = PUBLISHED[one.network] if isinstance(one.network, str) else (1, one.network)
    encoder = blank_encoder(config, layers, shape.hidden, shape.heads, shape.ffn)
    return compile_encoder(config, encoder, one.tokens)


def workload(config: Config, name: str, memory: Memory | None = None) -> Prediction:
    """Cycles and traffic of a named workload on `config`, of `celosia.sw.workloads`.

    Errors: KeyError for an unknown name; CompileError when it does not fit.
    """
    return predict(compile_workload(config, name), memory)
