"""Scale distances by the errors that the two branches usually make on good patches.

Eq. 7 and 8 treat every channel of an error r as equally informative and every patch as equally hard. On good
photos they are not. `whitening` gives the Mahalanobis distance of r, in which directions with large usual
errors count less. `expected_coefficients` predict the usual distance of a good patch with features u: it
grows with the size of u and with its fine detail. A map divided by this shows multiples of the usual
distance. For the local branch, which judges patches, the prediction is made per patch; for the global branch,
which judges the photo, per photo.
"""

from __future__ import annotations

import scipy
import torch
import torch.nn.functional as F
from torch import Tensor

SHRINKAGE = 0.1  # share of the mean variance that is added to the variance of every direction
# Lower limit as a multiple of b₀ + b₁ + b₂, which is about the mean expected distance: u is standardised, so
# ‖u‖²/c is 1 on average.
FLOOR = 1e-3


def whitening(residuals: Tensor) -> Tensor:
    """L with LᵀL = (Σ + 0.1 tr(Σ)/c I)⁻¹, Σ = E[r rᵀ]: residuals (n, c, h, w) of good photos → (c, c)."""
    patches = residuals.transpose(0, 1).flatten(1).double()
    covariance = patches @ patches.T / patches.shape[1]
    variance = covariance.diagonal().mean().clamp_min(1e-12)
    shrunk = covariance + SHRINKAGE * variance * torch.eye(len(covariance), device=patches.device)
    return torch.linalg.inv(torch.linalg.cholesky(shrunk)).float()


def whitened_distance(residuals: Tensor, matrix: Tensor) -> Tensor:
    """‖L r‖²/c at every position, (n, c, h, w) → (n, h, w), ≥ 0 and about 1 for good patches."""
    return torch.einsum("dc,nchw->ndhw", matrix, residuals).square().mean(dim=1)


def expected_coefficients(distances: Tensor, features: Tensor, whole_photo: bool) -> Tensor:
    """Fit d by b₀ + b₁ ‖u‖²/c + b₂ ‖u − ū‖²/c with b ≥ 0 on good photos: float32 (3,).

    `distances` (n, h, w), `features` U (n, c, h, w); ū is the mean of u's 5 × 5 neighbourhood. With
    `whole_photo`, both squares are means over the photo. The fit is weighted by 1/‖u‖², because the spread of
    errors is proportional to their size; a predictor that does not help gets the coefficient 0.
    """
    predictors = _predictors(features, whole_photo).flatten(1).double()
    weights = 1 / (predictors[1] + predictors[1].mean().clamp_min(1e-12))
    solution, _ = scipy.optimize.nnls((predictors * weights).T.cpu().numpy(),
                       (distances.flatten().double() * weights).cpu().numpy())
    return torch.from_numpy(solution).float().to(features.device)


def expected(features: Tensor, coefficients: Tensor, whole_photo: bool) -> Tensor:
    """The expected distances (n, h, w), > 0, for features U (n, c, h, w)."""
    fitted = torch.einsum("p,pnhw->nhw", coefficients, _predictors(features, whole_photo))
    return fitted.clamp_min(FLOOR * coefficients.sum().clamp_min(1e-12))


def with_peaks(place: Tensor, verdict: Tensor) -> Tensor:
    """Maps `place` (n, h, w), each times one factor, so that its peak is that of the photo's `verdict`.

    So the first compares the patches of a photo, the second compares photos.
    """
    def peaks(maps: Tensor) -> Tensor:
        return maps.amax(dim=(1, 2), keepdim=True)

    return place * (peaks(verdict) / peaks(place).clamp_min(1e-12))


def _predictors(features: Tensor, whole_photo: bool) -> Tensor:
    """(3, n, h, w): 1, the mean square of u, and the mean square of u − ū."""
    neighbourhood = F.avg_pool2d(features, 5, stride=1, padding=2, count_include_pad=False)
    size, detail = features.square().mean(dim=1), (features - neighbourhood).square().mean(dim=1)
    predictors = torch.stack([torch.ones_like(size), size, detail])
    return predictors.mean(dim=(2, 3), keepdim=True).expand_as(predictors) if whole_photo else predictors
