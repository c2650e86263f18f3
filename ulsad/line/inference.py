"""A model and a criterion as one torch module, from squares to maps and verdicts: what is exported."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ulsad.detector.criterion import FAIL, PASS, REVIEW
from ulsad.line.judge import Judge
from ulsad.method.branches import describe
from ulsad.method.equations import resample

VERDICTS = (PASS, REVIEW, FAIL)  # `Inference` gives their index


class Inference(nn.Module):
    """What a `Judge` computes for photos that the model was not trained on.

    Takes squares, uint8 (n, s, s, 3): whole photos, RGB, resized to s × s. Returns, by name,

    * `local`, `global`, `combined`: the normalised maps (Eq. 9), float32 (n, s, s)
    * `scores`: combined, local and global score (Eq. 10), float32 (n, 3)
    * `verdict`: the index in `VERDICTS`, int64 (n,)
    * `strangeness`: above 1, a photo is unlike all good ones, float32 (n,), see `References.strangeness`

    A model without a global branch has no `global`, and `scores` are (n, 2).
    """

    resampling: Tensor
    kept: Tensor
    familiar: Tensor

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        detector, criterion = judge.detector, judge.criterion
        self.branches, self.criterion = detector.branches, criterion
        self.normalisation = detector.calibration.normalisation(
            criterion.alpha, criterion.beta, criterion.combine)
        self.extractor = self.branches.extractor  # modules are only exported if they are registered
        self.networks = nn.ModuleList(member.networks for member in self.branches.members)
        side, ignored = detector.config.image_size, detector.calibration.ignored
        self.register_buffer("resampling", torch.from_numpy(self.branches.resampling))
        self.register_buffer("kept", torch.ones(side, side, dtype=torch.bool) if ignored is None
                             else torch.from_numpy(~ignored))
        self.register_buffer("familiar", torch.from_numpy(detector.references.means))
        self.limit = detector.references.limit
        self.eval().requires_grad_(False)

    def forward(self, squares: Tensor) -> dict[str, Tensor]:
        normalised = self.extractor.normalise(squares.permute(0, 3, 1, 2))
        features, outputs = self.branches.forward_each(normalised, self.extractor(normalised))
        raw = [resample(distances, self.resampling) * self.kept
               for distances in self.branches.distances(features, outputs)]
        maps = self._normalised(raw)
        order = ("combined", *(name for name in maps if name != "combined"))
        scores = torch.stack([maps[name].amax(dim=(1, 2)) for name in order], dim=1)
        verdict = (scores[:, 0] > self.criterion.review).long() + (scores[:, 0] > self.criterion.fail)
        return maps | {"scores": scores, "verdict": verdict, "strangeness": self._strangeness(features)}

    def _normalised(self, raw: list[Tensor]) -> dict[str, Tensor]:
        local = self.normalisation.local(raw[0])
        if self.normalisation.global_ is None:
            return {"local": local, "combined": local.clone()}
        global_ = self.normalisation.global_(raw[1])
        return {"local": local, "global": global_,
                "combined": self.normalisation.combine(local, global_)}

    def _strangeness(self, features: Tensor) -> Tensor:
        means = describe(features).unflatten(1, (features.shape[1], -1)).mean(dim=2)
        apart = (means[:, None] - self.familiar).square().mean(dim=2).sqrt()
        return apart.amin(dim=1) / self.limit
