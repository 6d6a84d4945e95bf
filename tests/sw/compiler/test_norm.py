"""Statistics that leave a row as it is."""

import numpy as np

from celosia.sw.compiler.norm import UNIT_EPS
from celosia.sw.golden.layernorm import affine, normalise, row_stats


def test_a_row_of_zeros_gives_statistics_that_change_nothing():
    """One channel, no constants: as RESIDUAL computes them from a row of zeros. Then NORM, with gamma 1 and beta 0."""
    stats = row_stats([0], [0], n=1, inv=0, inv_shift=0, eps=UNIT_EPS)
    every = np.arange(-(1 << 15), 1 << 15)
    norm = normalise(every[None], *stats)[0]
    np.testing.assert_array_equal(norm, every)
    np.testing.assert_array_equal(affine(norm, np.ones_like(every), np.zeros_like(every), 0, 16), every)
