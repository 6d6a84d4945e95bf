"""The survey's study of mappings (its figures 18 to 20): how good are mappings that are drawn at random?"""

from dataclasses import dataclass

import numpy as np

from celosia.hw.config import Config
from celosia.sw.mapper.evaluate import Evaluation, Objective
from celosia.sw.mapper.nest import Nest
from celosia.sw.mapper.operators import Operator, Padded, convolution, matmul
from celosia.sw.mapper.search import best, sample
from celosia.sw.mapper.space import Floats, Space

NEAR = 3
"""Within how many times the best a mapping counts as near."""


@dataclass(frozen=True)
class Study:
    """An operator of the survey, and what is printed there for it. `file`: of its figure.

    `tenth`: tenth percentile of EDP over the best. `near`: share of mappings within `NEAR` times the best.
    """

    operator: Operator
    file: str
    tenth: float
    near: float


STUDIES = (
    Study(matmul("MHA projection", 512, 768, 768), "figure-18-projection", 9.42, 0.0170),
    Study(matmul("W1", 512, 768, 3072), "figure-19-w1", 9.84, 0.0148),
    Study(convolution("conv 3x3", 7, 3, 512, 512), "figure-20-conv-3x3", 7.44, 0.0158),
    Study(convolution("conv 1x1", 7, 1, 512, 2048), "figure-20-conv-1x1", 12.06, 0.0262),
)
"""The convolutions are of ResNet-50's last stage: 7 x 7 pixels, 512 channels in, 512 and 2048 out."""


@dataclass(frozen=True)
class Spread:
    """What was found for a study. `ratios`: EDP of every mapping over the least of them, rising.

    `guided`: EDP of what the default strategy finds, over the least of them. `space`: mappings there are, valid or not.
    """

    study: Study
    ratios: Floats
    guided: float
    space: int

    @property
    def tenth(self) -> float:
        """Tenth percentile."""
        return float(np.percentile(self.ratios, 10))

    @property
    def near(self) -> float:
        """Share within `NEAR` times the best."""
        return float((self.ratios <= NEAR).mean())

    def to_dict(self) -> dict[str, object]:
        """Figures, with the printed ones beside them."""
        return {
            "operator": self.study.operator.name,
            "shape": str(self.study.operator),
            "samples": len(self.ratios),
            "tenth_percentile": self.tenth,
            "printed_tenth_percentile": self.study.tenth,
            f"within_{NEAR}x": self.near,
            f"printed_within_{NEAR}x": self.study.near,
            "median": float(np.median(self.ratios)),
            "decades": float(np.log10(self.ratios[-1])),
            "default_over_best": self.guided,
            "space": self.space,
        }


def spread(config: Config, study: Study, samples: int, seed: int, wide: bool = False) -> Spread:
    """Draw `samples` valid mappings; `wide`: see `Padded`. Errors: MapperError when none fits."""
    space = Space(Padded(config, study.operator, wide))
    edp = Evaluation(Nest(space.padded, sample(space, samples, seed))).edp
    found = best(config, study.operator, Objective.EDP)
    return Spread(study, np.sort(edp / edp.min()), found.figures["edp"] / float(edp.min()), space.size)
