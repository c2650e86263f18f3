"""The nine steps in words and equations; nothing here depends on a photo."""

from __future__ import annotations

from typing import Any, NamedTuple

from ulsad.method.config import Config


class Step(NamedTuple):
    """Texts are HTML. `pictures` are shown where the lesson has them, in this order."""

    title: str
    sentence: str
    equation: str
    pictures: tuple[str, ...]
    charts: tuple[str, ...] = ()
    beyond: str = ""  # what the model does here that the paper does not


LOCAL = ("local equation", "local whitened", "local relative", "local bank", "local used")
GLOBAL = ("global equation", "global used")

_L_V = "l<sub>v</sub>(a, b) = <i>mean</i> (a − b)²"
_L_D = "l<sub>d</sub>(a, b) = 1 − a·b / (‖a‖ ‖b‖)"
_SOFTMAX = "exp(z<sub>p</sub>·{z}<sub>q</sub> / √c*) / Σ<sub>r</sub> exp(z<sub>r</sub>·{z}<sub>q</sub> / √c*)"


def steps(config: Config, members: int) -> list[dict[str, Any]]:
    """The steps as a model with this configuration takes them, for the browser."""
    found = [_photo(config), _FEATURES, _STANDARDISED, _LOCAL_BRANCH, _local_map(config, members), _ATTENTION,
             _global_branch(config), _global_map(config, members), _verdict(config)]
    return [step._asdict() for step in found]



def _photo(config: Config) -> Step:
    return Step("The photo", "Every photo becomes one square of the same size, because the networks expect it.",
                f"photo → x, {config.image_size} × {config.image_size} pixels", ("photo", "square"))


_FEATURES = Step(
    "Features U", "A network that was trained on everyday photographs describes each patch by a list of numbers; "
    "patches with similar numbers have similar colours here.",
    "U = [ layer j(x), layer j+1(x) ], <i>c*</i> numbers for each of <i>h*</i> × <i>w*</i> patches",
    ("fine", "coarse", "raw"), ("raw",))
_STANDARDISED = Step(
    "Standardising", "Each number is compared with its usual value on good parts, so that none counts more only because it "
    "is large.",
    "U ← (U − μ) / σ, with μ and σ of each channel over all training photos", ("raw", "standardised"),
    ("raw", "standardised"))
_LOCAL_BRANCH = Step(
    "Local branch ψ", "A network squeezes the features through a bottleneck and rebuilds them; it learnt this on good "
    "parts only, so it rebuilds the unusual badly.",
    f"Ũ′ = ψ(U)<br>{_L_V}, {_L_D} <b>(2)</b><br>"
    "L<sub>pl</sub> = <i>mean over patches</i> l<sub>v</sub>(Ũ′, U) + λ<sub>l</sub> l<sub>d</sub>(Ũ′, U) <b>(1)</b>",
    ("standardised", "reconstruction"), ("standardised", "reconstruction", "difference", "vectors local"))
_ATTENTION = Step(
    "Self-attention", "Each patch gathers the patches of this photo that resemble it; this shows which places belong "
    "together, and the global branch learns from it.",
    f"W[p, q] = {_SOFTMAX.format(z='z')}<br>A = Z W <b>(3)</b>", ("self", "standardised", "teacher"))


def _local_map(config: Config, members: int) -> Step:
    beyond = []
    if config.local_metric == "whitened":
        beyond.append("<b>whitened</b>: channels that err on every good part count less")
    if config.relative_maps:
        beyond.append("<b>relative</b>: as multiples of the error that is usual for such a patch")
    if config.nearest_patches:
        beyond.append("<b>bank</b>: the distance to the nearest of some remembered good patches; the map in use is the "
                      "mean of both")
    if members > 1:
        beyond.append(f"the map in use is the mean of {members} pairs of networks")
    return Step("Local map", "Where the rebuilt features differ from the real ones, the patch itself looks unusual.",
                "M<sup>l</sup> = l<sub>v</sub>(Ũ′, U) + λ<sub>l</sub> l<sub>d</sub>(Ũ′, U) at each patch <b>(7)</b>",
                LOCAL, beyond="; ".join(beyond))


def _global_branch(config: Config) -> Step:
    beyond = "The mosaic is a way to show Û and no part of the method."
    if config.global_target == "features":
        beyond += " This model's global branch learnt the features themselves instead of attention (L<sub>pg</sub><sup>d</sup>, Table 3)."
    return Step("Global branch φ", "Another network presses the whole photo into one short vector and says from it what "
                "belongs at each place.",
                f"Û = φ(x)<br>Ŵ[p, q] = {_SOFTMAX.format(z='ẑ')}<br>Â = Z Ŵ <b>(4)</b><br>"
                "L<sub>pg</sub> = <i>mean over patches</i> l<sub>v</sub>(Â, A) + λ<sub>g</sub> l<sub>d</sub>(Â, A) <b>(5)</b>",
                ("global", "expected", "cross", "error"), beyond=beyond)


def _global_map(config: Config, members: int) -> Step:
    beyond = []
    if config.relative_maps:
        beyond.append("<b>in use</b>: as multiples of the distance that is usual for such a photo")
    if members > 1:
        beyond.append(f"the map in use is the mean of {members} pairs of networks")
    if not config.local_global_loss:
        return Step("Global map", "What the whole photo lets expect is compared with what is there; without "
                    "L<sub>lg</sub>, edges count as well.",
                    "M<sup>g</sup> = l<sub>v</sub>(U, Û) + λ<sub>g</sub> l<sub>d</sub>(U, Û) at each patch, without Ũ″",
                    ("global", "standardised", *GLOBAL), ("global", "standardised", "vectors global"), "; ".join(beyond))
    return Step("Global map", "φ is blurred everywhere. The local branch has learnt to be blurred in the same way on good "
                "parts, so edges cancel and what is unexpected remains.",
                "L<sub>lg</sub> = <i>mean over patches</i> l<sub>v</sub>(Ũ″, Û) + λ<sub>g</sub> l<sub>d</sub>(Ũ″, Û) "
                "<b>(6)</b><br>M<sup>g</sup> = l<sub>v</sub>(Ũ″, Û) + λ<sub>g</sub> l<sub>d</sub>(Ũ″, Û) at each patch <b>(8)</b>",
                ("global", "second", *GLOBAL), ("global", "second", "vectors global"), "; ".join(beyond))


def _verdict(config: Config) -> Step:
    combined = {"mean": f"(t(M<sup>l</sup>) + {config.global_weight:g} t(M<sup>g</sup>)) / {1 + config.global_weight:g}",
                "maximum": f"max(t(M<sup>l</sup>), {config.global_weight:g} t(M<sup>g</sup>))",
                "sum": f"t(M<sup>l</sup>) + {config.global_weight:g} max(t(M<sup>g</sup>), 0)"}[config.combination]
    is_paper = (config.combination, config.global_weight) == ("mean", 1)
    beyond = "" if is_paper else ("The paper takes the mean of both maps. Here the global map only adds to the local one "
                                  "where it is above q<sub>α</sub>." if config.combination == "sum" else
                                  "The paper takes the mean of both maps with equal weights.")
    if config.global_target == "none":
        combined, beyond = "t(M<sup>l</sup>)", "This model has no global branch: its score is the local map's."
    return Step("Verdict", "Both maps are put on one scale, set by good parts held out from training; the highest point of "
                "their combination is the score.",
                "t(M) = 0.1 (M − q<sub>α</sub>) / (q<sub>β</sub> − q<sub>α</sub>) <b>(9)</b><br>"
                f"s = <i>maximum of</i> {combined} <b>(10)</b>",
                ("local normalised", "global normalised", "combined"), ("held-out local", "held-out global"), beyond)
