"""ULSAD: a detector of structural and logical defects, trained on photos of good parts alone."""

import os

# Read when torch is loaded. Threads that spin while they wait take the cores from those that work: photos
# scored and maps drawn a third slower, an app and a training beside each other several times.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

from ulsad.config import PRESETS, Config
from ulsad.detector import Ulsad
from ulsad.errors import InputError
from ulsad.fitting import Progress, TrainingDiverged
from ulsad.images import Skipped
from ulsad.prediction import Prediction

__all__ = ["PRESETS", "Config", "InputError", "Prediction", "Progress", "Skipped", "TrainingDiverged",
           "Ulsad"]
