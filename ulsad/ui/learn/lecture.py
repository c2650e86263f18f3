"""What a teacher adds to each of the nine steps, and five questions; for the printed lesson."""

from __future__ import annotations

from typing import NamedTuple

MORE = (  # HTML, one for each step
    "What is smaller than a pixel of the square is lost here, and no later step can bring it back.",
    "Layer j has the finer patches; layer j+1 sees a wider neighbourhood of each and is stretched to the "
    "same grid. This network is never trained on the parts: it stays as it came.",
    "Without this, a few channels with large numbers would decide every distance.",
    "The bottleneck is too narrow to copy everything, so ψ must learn what patches of good parts have in "
    "common. l<sub>v</sub> compares the numbers themselves, l<sub>d</sub> only the directions of both "
    "vectors; λ<sub>l</sub> says how much directions count. ψ sees the neighbourhood of a patch, never "
    "the whole photo.",
    "A scratch or dirt resembles no good patch, so it lights up. Bare ground where a part should be looks"
    " usual by itself; ψ notices it only as far as the neighbourhood looks odd, and this map may stay "
    "dark. That is what the global branch is for.",
    "Column q of W holds the shares of its attention that patch q gives to each patch p; they sum to 1. A"
    " then holds, for each patch, the mixture of features that it gathers. Patches that look alike share "
    "their attention, however far apart they lie; one unlike all others keeps nearly all for itself. So A"
    " says how the pieces of a photo belong together.",
    "So short a vector has no room for what is peculiar to this photo. If a part is missing, φ still "
    "expects it. Ŵ says which patches of this photo resemble the expected patch; on good photos, training"
    " makes what it gathers, Â, equal to A. Â and A are needed for training only: the map comes in step "
    "8.",
    "Û comes out of one vector, so it is blurred. Comparing it with the sharp U would show every edge of "
    "every good part. Ũ″ is a second output of ψ that imitates Û from the patches that are really there. "
    "On good parts the two agree. Where φ expects a part and ψ sees bare ground, they differ.",
    "The maps have different units. Of the held-out good pixels, the share α lies below q<sub>α</sub>, "
    "which becomes 0, and the share β below q<sub>β</sub>, which becomes 0.1; so equal numbers are "
    "equally rare on good parts in both maps, and a pixel at 1 lies ten times as far above q<sub>α</sub> "
    "as q<sub>β</sub> does. The photos must be good, as defects would raise the quantiles, and the "
    "networks must not have been trained on them, as errors on those are too small. A single high pixel "
    "decides, so that a small defect counts: somebody looks at parts above <i>review</i>, parts above "
    "<i>fail</i> are rejected, and both limits come from the scores of held-out good photos. Maps are "
    "first enlarged to the square, so numbers differ a little from those of steps 5 and 8.",
)


class Question(NamedTuple):
    """Of the method, with its answer; HTML."""

    question: str
    answer: str


QUESTIONS = (
    Question(
        "ψ was trained on good parts only. Why does its map show a scratch?",
        "Through its bottleneck it can rebuild only what good patches have in common. It rebuilds a "
        "scratched patch as a good one, and the difference lights up (steps 4 and 5)."),
    Question(
        "A part is missing, and the ground below it is clean. Why may the local map stay dark, and why "
        "does the global one see it?",
        "ψ sees a neighbourhood, and bare ground is usual there. φ has pressed the whole photo into one "
        "short vector and still expects the part at this place (steps 5, 7 and 8)."),
    Question(
        "What does column q of W hold, and what is A?",
        "The shares of its attention that patch q gives to all patches; they sum to 1. A holds for each "
        "patch the mixture of features that it gathers with them (step 6)."),
    Question(
        "Why is Û compared with Ũ″, and not with the features U themselves?",
        "Û is blurred, so every edge of a good part would differ from U. Ũ″ has learnt to be as blurred "
        "as Û on good parts, so only what is unexpected remains (step 8)."),
    Question(
        "What do q<sub>α</sub> and q<sub>β</sub> do, and why must their photos be good and held out?",
        "They bring both maps to one scale: q<sub>α</sub> becomes 0 and q<sub>β</sub> 0.1, so equal "
        "numbers are equally rare on good parts. Photos that the networks were trained on have too small "
        "errors, and a defect would raise the quantiles (step 9)."),
)
