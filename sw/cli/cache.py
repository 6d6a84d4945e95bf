"""Results that take seconds to make, kept on disk by a hash of everything that they depend on."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from celosia.sw.cache import cache_folder, replacing
from celosia.sw.cli.output import step
from celosia.sw.model.bert import BertModel
from celosia.sw.model.calibrate import Calibration, Range, calibrate
from celosia.sw.sources import source_digest

_SOURCES = tuple(f"celosia.sw.model.{name}" for name in ("bert", "calibrate", "reference"))
"""What the ranges depend on, besides weights and sentences."""


def calibration_of(model: BertModel, ids: list[list[int]]) -> Calibration:
    """`calibrate(model, ids)`, from the cache when it is there."""
    path = cache_folder() / "calibration" / f"{_key(model, ids)}.npz"
    try:
        return _read(path)
    except (OSError, ValueError, KeyError):  # not there, or damaged: make it again
        pass
    with step(f"calibrating {model.name} on {len(ids)} sentences"):
        calibration = calibrate(model, ids)
    _write(path, calibration)
    return calibration


def _key(model: BertModel, ids: list[list[int]]) -> str:
    text = hashlib.sha256(repr((model.config, ids, source_digest(*_SOURCES))).encode())
    _walk(model.weights, text.update)
    return text.hexdigest()[:32]


def _walk(node: object, update: Callable[[bytes | memoryview], None]) -> None:
    """Feed every array in a tree of dataclasses and tuples to `update`."""
    if isinstance(node, np.ndarray):
        update(np.ascontiguousarray(node).data.cast("B"))
        return
    for child in node if isinstance(node, tuple) else vars(node).values():
        _walk(child, update)


def _read(path: Path) -> Calibration:
    calibration = Calibration()
    with np.load(path) as arrays:
        for key in arrays.files:
            name, _, end = key.rpartition(":")
            if end == "low":
                calibration[name] = Range(arrays[key], arrays[f"{name}:high"])
    return calibration


def _write(path: Path, calibration: Calibration) -> None:
    """Best effort: a cache that cannot be written costs time, not the result."""
    arrays = {f"{n}:{end}": getattr(r, end) for n, r in calibration.items() for end in ("low", "high")}
    with suppress(OSError), replacing(path) as file:
        np.savez(file, allow_pickle=False, **arrays)
