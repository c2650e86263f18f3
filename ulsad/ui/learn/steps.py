"""The nine steps in words and equations; nothing here depends on a photo."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from ulsad.attention.additions import additions
from ulsad.method.config import Config
from ulsad.ui.learn.lecture import MORE


class Beyond(NamedTuple):
    """What the model does at a step that the paper does not; HTML."""

    text: str
    addition: str = ""  # its name in `additions.PAPERS` if it can be left out
    is_left_out: bool = False


class Step(NamedTuple):
    """Texts are HTML. `pictures` and `charts` are shown where the lesson has them, in this order."""

    title: str
    sentence: str
    equation: str
    pictures: tuple[str, ...]
    charts: tuple[str, ...] = ()
    beyond: tuple[Beyond, ...] = ()


_LOCAL_MAPS = ("local equation", "local whitened", "local relative", "local bank", "local used")
_GLOBAL_MAPS = ("global equation", "global used")
_MEAN = "<i>mean over patches</i>"


def steps(config: Config, members: int, left_out: Collection[str] = ()) -> list[dict[str, Any]]:
    """The steps as a model with this configuration and so many pairs of networks takes them; `left_out` are
    the additions that it had before."""
    of_all = (_photo(config), _FEATURES, _STANDARDISED, _LOCAL_BRANCH, _local_map(config, members, left_out),
              _ATTENTION, _global_branch(config), _global_map(config, members, left_out),
              _verdict(config, left_out))
    return [step._asdict() | {"more": more, "beyond": [each._asdict() for each in step.beyond]}
            for step, more in zip(of_all, MORE, strict=True)]


def _distance(first: str, second: str, branch: str) -> str:
    """l_v + λ l_d, as in Eq. 1 and 5 to 8."""
    return (f"l<sub>v</sub>({first}, {second}) + λ<sub>{branch}</sub> "
            f"l<sub>d</sub>({first}, {second})")


def _weights(query: str) -> str:
    """The softmax of Eq. 3 and 4."""
    return (f"exp(z<sub>p</sub>·{query}<sub>q</sub> / √c*) / "
            f"Σ<sub>r</sub> exp(z<sub>r</sub>·{query}<sub>q</sub> / √c*)")


def _photo(config: Config) -> Step:
    return Step(
        "The photo", "Every photo becomes one square of the same size, because the networks expect it.",
        f"photo → x, {config.image_size} × {config.image_size} pixels", ("photo", "square"))


_FEATURES = Step(
    "Features U",
    "A network that was trained on everyday photographs describes each patch by a list of numbers; patches "
    "with similar numbers have similar colours here.",
    "U = [ layer j(x), layer j+1(x) ], <i>c*</i> numbers for each of <i>h*</i> × <i>w*</i> patches",
    ("fine", "coarse", "raw"), ("raw",))

_STANDARDISED = Step(
    "Standardising",
    "Each number is compared with its usual value on good parts, so that none counts more only because it is "
    "large.",
    "U ← (U − μ) / σ, with μ and σ of each channel over all training photos",
    ("raw", "standardised"), ("raw", "standardised"))

_LOCAL_BRANCH = Step(
    "Local branch ψ",
    "A network squeezes the features through a bottleneck and rebuilds them; it learnt this on good parts "
    "only, so it rebuilds the unusual badly.",
    "Ũ′ = ψ(U)<br>l<sub>v</sub>(a, b) = <i>mean</i> (a − b)², "
    "l<sub>d</sub>(a, b) = 1 − a·b / (‖a‖ ‖b‖) <b>(2)</b><br>"
    f"L<sub>pl</sub> = {_MEAN} {_distance('Ũ′', 'U', 'l')} <b>(1)</b>",
    ("standardised", "reconstruction"), ("standardised", "reconstruction", "difference", "vectors local"))

_ATTENTION = Step(
    "Self-attention",
    "Each patch gathers the patches of this photo that resemble it; this shows which places belong together, "
    "and the global branch learns from it.",
    f"W[p, q] = {_weights('z')}<br>A = Z W <b>(3)</b><br>"
    "z<sub>p</sub>: patch p of U, column p of Z", ("self", "standardised", "teacher"))


def _local_map(config: Config, members: int, left_out: Collection[str]) -> Step:
    return Step(
        "Local map", "Where the rebuilt features differ from the real ones, the patch itself looks unusual.",
        f"M<sup>l</sup> = {_distance('Ũ′', 'U', 'l')} at each patch <b>(7)</b>", _LOCAL_MAPS,
        beyond=(
            *_addition("whitened", config, left_out,
                       "<b>whitened</b>: channels that err on every good part count less"),
            *_addition("relative", config, left_out,
                       "<b>relative</b>: as multiples of the error that is usual for such a patch"),
            *_addition("bank", config, left_out,
                       "<b>nearest good patch</b>: the distance to the nearest of some remembered ones; the "
                       "map in use is the mean of both"),
            *_of_members(members)))


def _global_branch(config: Config) -> Step:
    beyond = [Beyond("<b>what φ expects</b>: the patches of a good photo that are nearest to Û, a way to "
                     "show Û and no part of the method")]
    if config.global_target == "features":
        beyond.append(Beyond("this model's φ learnt the features themselves instead of attention "
                             "(L<sub>pg</sub><sup>d</sup> of Table 3)"))
    return Step(
        "Global branch φ",
        "Another network presses the whole photo into one short vector and says from it what belongs at each "
        "place.",
        f"Û = φ(x), ẑ<sub>q</sub>: patch q of Û<br>Ŵ[p, q] = {_weights('ẑ')}<br>Â = Z Ŵ <b>(4)</b><br>"
        f"L<sub>pg</sub> = {_MEAN} {_distance('Â', 'A', 'g')} <b>(5)</b>",
        ("global", "expected", "cross", "error"), beyond=tuple(beyond))


def _global_map(config: Config, members: int, left_out: Collection[str]) -> Step:
    beyond = (*_addition("relative", config, left_out,
                         "<b>relative</b>: as multiples of the distance that is usual for such a photo"),
              *_of_members(members))
    if not config.local_global_loss and config.global_target != "none":
        return Step(
            "Global map",
            "What φ expects is compared with what is there; without L<sub>lg</sub>, edges count as well.",
            f"M<sup>g</sup> = {_distance('U', 'Û', 'g')} at each patch, without Ũ″",
            ("global", "standardised", *_GLOBAL_MAPS), ("global", "second", "vectors global"), beyond)
    return Step(
        "Global map",
        "What φ says is blurred. A second output of ψ has learnt to be blurred in the same way on good "
        "parts, so edges cancel and what is unexpected remains.",
        f"L<sub>lg</sub> = {_MEAN} {_distance('Ũ″', 'Û', 'g')} <b>(6)</b><br>"
        f"M<sup>g</sup> = {_distance('Ũ″', 'Û', 'g')} at each patch <b>(8)</b>",
        ("global", "second", *_GLOBAL_MAPS), ("global", "second", "vectors global"), beyond)


def _verdict(config: Config, left_out: Collection[str]) -> Step:
    combined, differs = _combined(config)
    beyond = (Beyond(differs),) if config.global_target == "none" else _addition(
        "combination", config, left_out, differs or "both maps combined in another way than by their mean")
    return Step(
        "Verdict",
        "Both maps are put on one scale, set by good parts held out from training; the highest point of "
        "their combination is the score.",
        "t(M) = 0.1 (M − q<sub>α</sub>) / (q<sub>β</sub> − q<sub>α</sub>) <b>(9)</b><br>"
        f"s = <i>maximum of</i> {combined} <b>(10)</b>",
        ("local normalised", "global normalised", "combined"), ("held-out local", "held-out global"), beyond)


def _combined(config: Config) -> tuple[str, str]:
    """How the model combines both maps, and how that differs from the paper."""
    local, whole, weight = "t(M<sup>l</sup>)", "t(M<sup>g</sup>)", f"{config.global_weight:g}"
    if config.global_target == "none":
        return local, "This model has no global branch: its score is the local map's."
    if config.combination == "sum":
        return (f"{local} + {weight} max({whole}, 0)",
                "The paper takes the mean of both maps. Here the global map only adds to the local one, "
                "where it is above its q<sub>α</sub>.")
    if config.combination == "maximum":
        return f"max({local}, {weight} {whole})", "The paper takes the mean of both maps, not the larger."
    if config.global_weight != 1:
        return (f"({local} + {weight} {whole}) / {1 + config.global_weight:g}",
                "The paper gives both maps the same weight.")
    return f"({local} + {whole}) / 2", ""


def _addition(name: str, config: Config, left_out: Collection[str], text: str) -> tuple[Beyond, ...]:
    """An addition that the configuration has, or had; none if it never did."""
    if name in left_out:
        return (Beyond(text, name, is_left_out=True),)
    return (Beyond(text, name),) if name in additions(config) else ()


def _of_members(members: int) -> tuple[Beyond, ...]:
    return (Beyond(f"the map in use is the mean of {members} pairs of networks"),) if members > 1 else ()
