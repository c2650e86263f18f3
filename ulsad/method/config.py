"""All settings of the method in one frozen class, and the presets `quick`, `thorough` and `paper`."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ulsad.errors import InputError


@dataclass(frozen=True)
class Config:
    """Settings of one detector. The defaults are the `quick` preset.

    Equation and table numbers are those of 'Revisiting Deep Feature Reconstruction for Logical and
    Structural Industrial Anomaly Detection'. Invalid values raise `InputError` on construction.
    """

    # --- what the networks see (Sec. 3.1)
    image_size: int = 256  # photos are resized to this square, px; a multiple of 32, at least 256
    backbone: str = "efficientnet_lite0"  # frozen pre-trained network, a key of `backbones.BACKBONES`
    weights_enum: str | None = None  # torchvision weights by name; None: the backbone's first, V1
    layers: tuple[str, str] | None = None  # layers j and j+1; None: the backbone's own default pair
    # Decode large JPEGs at a fraction of their size, no side shorter than twice `image_size`: four times as
    # fast at 12 megapixels, and 0.2 grey levels from the whole photo on average.
    reduced_jpegs: bool = True
    # White level of photos with more than 8 bits (255 for 8 bits). None: from the good photos, see `depth`.
    white_level: float | None = None
    feature_dim: int = 384  # c*: more channels than this are average-pooled over the channel axis

    # --- feature reconstruction network ψ (Table 4) and global autoencoder φ (Table 5)
    frn_width: int = 192  # channels at the bottleneck; the other layers have a half or a quarter of them
    frn_kernel: int = 3  # of ψ's last layer; with the table's 5 this layer takes over half of ψ's arithmetic
    frn_output: str = "linear"  # or "relu": BatchNorm and ReLU after the last layer, as in the reference code
    # Order in ψ's blocks as in Table 4; or "batchnorm_first". The global map gained 6 points on tiles.
    frn_order: str = "relu_first"
    autoencoder_width: int = 64  # channels in Table 5; its first two layers have half of them
    lean_autoencoder: bool = True  # fewer channels in φ's first layer, a smaller kernel in its last one
    fine_decoder: bool = False  # keep φ's fifth decoder layer, at twice the grid's resolution

    # --- losses (Eq. 1-6) and the rows of the ablation, Table 3
    lambda_l: float = 0.5  # weight of direction relative to value in the local distance, Eq. 1 and 7
    lambda_g: float = 0.5  # the same for the global distances, Eq. 5, 6 and 8
    global_target: str = "attention"  # L_pg; "features": L_pg^d; "none": the local branch alone (DFR)
    local_global_loss: bool = True  # L_lg, Eq. 6; without it the global map is the distance of Û and U

    # --- training (Algorithm 1)
    # Augmented copies extend small sets to at most this many photos; 0: none. 16 photos: global map 78 → 97.
    augmented_photos: int = 240
    steps: int | None = 960  # optimisation steps; exactly one of `steps`, `epochs`, `minutes` is set
    epochs: int | None = None  # passes over the training photos
    minutes: float | None = None  # as many steps as fit, including reading, features and calibration
    # Stop sooner, after 240 or 480 steps, if self-made defects are located no better than after half as many,
    # see `standstill`. Naming a length in `with_text` switches this off.
    stop_when_still: bool = True
    batch_size: int = 4  # photos per step
    attention_queries: int | None = 128  # positions k of Eq. 5, drawn at random for each step; None: all
    learning_rate: float = 1e-3  # Adam's
    weight_decay: float = 2e-5  # Adam's L2 penalty
    # "averaged": the rate is constant after a short rise, and the networks are the mean of all weights so
    # far, see `training.weight_of_step`, so training may be stopped at any time. "constant": the last step's.
    schedule: str = "averaged"
    # Training arithmetic: "float32" (convolutions on GPUs: TF32), "bfloat16", or "auto": bfloat16 if native.
    precision: str = "auto"
    seed: int = 0  # for initial weights, order of photos, held-out split

    # --- anomaly maps (Eq. 7 and 8), see `residuals`
    # Gains are in points of image AUROC; assets/EXPERIMENTS.md has the measurements.
    # Metric of ψ's error; "plain": l_v + λ_l l_d, as in Eq. 7. Local map: 0.8 on toy figures, 2.4 on tiles.
    local_metric: str = "whitened"
    # Distances as multiples of those expected for the features. Local map: 14 on tiles, 6 on toy figures.
    relative_maps: bool = True
    # With `relative_maps`, patches of one photo are compared by their distance over this power of the
    # expected one; 1 favours patches where little is expected. Local map: AUPRO 8 on tiles, 24 on circuit
    # boards against 1, same image AUROC.
    expected_power: float = 0.65
    # Size of the bank of good patches, see `bank`: the local map is the mean of ψ's distance and the one to
    # the nearest of them. 0: ψ alone, as in the paper. Local map: 2 on tiles (AUPRO 2), AUPRO 3 on circuit
    # boards; 25 ms more for each photo on one core.
    nearest_patches: int = 4000

    # --- calibration (Eq. 9)
    # Cross-fitting, with at most `photo_sets.FEW` good photos and none held out separately: so many networks
    # are trained, each without its fold of the photos, and every photo is held out once; `steps` are those of
    # all networks together. 1: a single network, and a share of the photos held out. Thresholds from 18
    # photos: with 95 % confidence at most 18 % of good parts lie above them, instead of 71 %.
    folds: int = 3
    held_out: float = 0.15  # otherwise: share of the good photos held out from training to set the quantiles
    # Of both normalised maps, per pixel, see `calibration.Combination`; "mean": as in the paper. With "sum"
    # the combined map is hardly ever behind the better of the two; "maximum" was up to 10 points behind.
    combination: str = "sum"
    global_weight: float = 0.25  # of the global map; the local map has 1
    blur_sigma: float = 0.0  # Gaussian blur of the maps at image_size, px; the reference code has 4
    alpha: float = 0.9  # quantile level of held-out normal pixels that maps to 0
    beta: float = 0.995  # quantile level that maps to 0.1

    def __post_init__(self) -> None:
        for field in fields(self):
            _require_type(field.name, getattr(self, field.name), str(field.type))
        for name, allowed in _CHOICES.items():
            _require(getattr(self, name) in allowed, f"{name} must be one of {', '.join(allowed)}")
        for name in _POSITIVE:
            _require(getattr(self, name) > 0, f"{name} must be greater than 0")
        for name in ("augmented_photos", "lambda_l", "lambda_g", "weight_decay", "global_weight",
                     "blur_sigma", "expected_power", "nearest_patches"):
            _require(getattr(self, name) >= 0, f"{name} must not be negative")
        _require(256 <= self.image_size <= 4096 and self.image_size % 32 == 0,
                 f"image_size must be a multiple of 32 from 256 to 4096, not {self.image_size}")
        _require(self.frn_width % 4 == 0 and self.autoencoder_width % 2 == 0,
                 "frn_width must be a multiple of 4, autoencoder_width a multiple of 2")
        _require(self.frn_kernel % 2 == 1 and self.frn_kernel <= 15, "frn_kernel must be odd, at most 15")
        lengths = [length for length in (self.steps, self.epochs, self.minutes) if length is not None]
        _require(len(lengths) == 1, "set exactly one of steps, epochs and minutes")
        _require(lengths[0] > 0, "steps, epochs and minutes must be greater than 0")
        _require(self.batch_size >= 2, "batch_size must be at least 2 (BatchNorm needs two photos)")
        _require(self.attention_queries is None or self.attention_queries > 0,
                 "attention_queries must be greater than 0, or null for all positions")
        _require(self.white_level is None or 0 < self.white_level < math.inf,
                 "white_level must be greater than 0, or null to find it from the photos")
        _require(self.layers is None or len(self.layers) == 2, "layers must name two layers")
        _require(1 <= self.folds <= 10, "folds must be from 1 to 10")
        _require(0 < self.held_out <= 0.5, "held_out must be greater than 0 and at most 0.5")
        _require(0 <= self.seed < 2**63, "seed must be 0 or more, and below 2**63")
        _require(0 <= self.alpha < self.beta <= 1, "alpha must be below beta, both from 0 to 1")

    @property
    def decoded_side(self) -> int | None:
        """`at_least` of `images.read_photo`, for what the networks see."""
        return 2 * self.image_size if self.reduced_jpegs else None

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Config:
        """A configuration written by `to_json`, or by an older version of this program.

        Raises `InputError` for any other text.
        """
        try:
            return cls._from(_BEFORE | json.loads(text))
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(f"The settings can't be read ({error}).") from error

    @classmethod
    def _from(cls, values: dict[str, Any]) -> Config:
        if values.get("schedule") == "one_cycle":  # no longer there; only a resumed training would notice
            values["schedule"] = "averaged"
        unknown = set(values) - {field.name for field in fields(cls)}
        _require(not unknown, f"unknown setting: {', '.join(sorted(unknown))}")
        if values.get("layers") is not None:
            values["layers"] = tuple(values["layers"])
        return cls(**values)

    def with_text(self, assignments: list[str]) -> Config:
        """This configuration with `name=value` texts applied, as given on a command line."""
        changes: dict[str, Any] = {}
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            _require(bool(equals) and name in _NAMES, f"'{assignment}': write name=value, "
                     f"where name is one of {', '.join(sorted(_NAMES))}")
            changes[name] = _parse(text)
        return replace(self, **_one_length(changes))


def _one_length(changes: dict[str, Any]) -> dict[str, Any]:
    """Setting one of `steps`, `epochs` and `minutes` clears the other two, and the length is kept."""
    lengths = ("steps", "epochs", "minutes")
    named = any(name in changes for name in lengths)
    return {name: None for name in lengths} | {"stop_when_still": False} | changes if named else changes


def _parse(text: str) -> Any:
    """A JSON value (numbers, true, null) if it is one, a pair for `a,b`, else the text itself."""
    if "," in text:
        return tuple(text.split(","))
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _require_type(name: str, value: Any, annotation: str) -> None:
    """Check a value against its annotation: `int`, `float`, `str`, `bool` or a pair, each optionally None."""
    if value is None:
        _require("None" in annotation, f"{name} must not be empty")
        return
    word = annotation.removesuffix(" | None")
    types: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "str": str, "bool": bool}
    allowed = types.get(word, tuple)
    is_number_for_flag = isinstance(value, bool) != (allowed is bool)
    _require(isinstance(value, allowed) and not is_number_for_flag, f"{name} must be {word}, not {value!r}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InputError(f"Settings: {message}.")


# In older models, whose configuration lacks these settings.
_BEFORE = {"white_level": 65535, "expected_power": 1.0, "nearest_patches": 0, "stop_when_still": False,
           "folds": 1, "reduced_jpegs": False, "lean_autoencoder": False}
_NAMES = {field.name for field in fields(Config)}
_CHOICES = {
    "frn_output": ("linear", "relu"),
    "frn_order": ("batchnorm_first", "relu_first"),
    "global_target": ("attention", "features", "none"),
    "local_metric": ("whitened", "plain"),
    "combination": ("sum", "maximum", "mean"),
    "schedule": ("averaged", "constant"),
    "precision": ("auto", "float32", "bfloat16"),
}
_POSITIVE = ("feature_dim", "frn_width", "frn_kernel", "autoencoder_width", "learning_rate")

# Settings that do not affect the networks' training.
CALIBRATION = ("blur_sigma", "combination", "global_weight", "alpha", "beta")

PRESETS: dict[str, Config] = {
    "quick": Config(),
    # Four times as many photos: scores vary less, see assets/RESULTS.md. Sixteen times gained nothing.
    "thorough": Config(steps=600, batch_size=8, stop_when_still=False),
    # The published recipe; `frn_output` stays linear, see assets/EXPERIMENTS.md for "relu".
    "paper": Config(
        reduced_jpegs=False,
        backbone="wide_resnet50_2",
        frn_width=1536,
        frn_kernel=5,
        frn_order="batchnorm_first",
        lean_autoencoder=False,
        fine_decoder=True,
        augmented_photos=0,
        steps=None,
        stop_when_still=False,
        epochs=200,
        batch_size=8,
        attention_queries=None,
        learning_rate=2e-4,
        schedule="constant",
        precision="float32",
        local_metric="plain",
        relative_maps=False,
        nearest_patches=0,
        folds=1,
        combination="mean",
        global_weight=1.0,
        blur_sigma=4.0,
    ),
}
