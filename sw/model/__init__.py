"""Models: import of published weights, calibration, quantisation, and the encoder in floating point and in integers."""

from celosia.sw.model.bert import BertConfig, BertModel, BertWeights, LayerWeights, Linear, Norm, random_bert
from celosia.sw.model.calibrate import Calibration, Range, calibrate, calibration_ids
from celosia.sw.model.encoder import embed_golden, quantise_embedding, run_golden
from celosia.sw.model.errors import ModelError
from celosia.sw.model.evaluate import Accuracy, Pairs, evaluate, read_pairs, spearman
from celosia.sw.model.folder import find_model, load_model
from celosia.sw.model.quantise import QuantiseOptions, quantise
from celosia.sw.model.quantised import QuantisedEncoder, QuantisedLayer, QuantisedLinear, QuantisedNorm
from celosia.sw.model.reference import embed, embedding_sum, encode, pool

__all__ = [
    "Accuracy",
    "BertConfig",
    "BertModel",
    "BertWeights",
    "Calibration",
    "LayerWeights",
    "Linear",
    "ModelError",
    "Norm",
    "Pairs",
    "QuantiseOptions",
    "QuantisedEncoder",
    "QuantisedLayer",
    "QuantisedLinear",
    "QuantisedNorm",
    "Range",
    "calibrate",
    "calibration_ids",
    "embed",
    "embed_golden",
    "embedding_sum",
    "encode",
    "evaluate",
    "find_model",
    "load_model",
    "pool",
    "quantise",
    "quantise_embedding",
    "random_bert",
    "read_pairs",
    "run_golden",
    "spearman",
]
