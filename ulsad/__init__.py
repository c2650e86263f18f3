"""ULSAD: a detector of structural and logical defects, trained on photos of good parts alone."""

from ulsad.config import PRESETS, Config
from ulsad.detector import Ulsad
from ulsad.errors import InputError
from ulsad.fitting import Progress, TrainingDiverged
from ulsad.images import Skipped
from ulsad.prediction import Prediction

__all__ = ["PRESETS", "Config", "InputError", "Prediction", "Progress", "Skipped", "TrainingDiverged",
           "Ulsad"]
