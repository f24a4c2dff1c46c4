"""Where in a canvas a template may lie: normalised cross-correlation over all positions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from model.placement.canvas import Canvas, grown
from model.placement.workers import Workers

_BLOCK = 4
"""Pixels a side of the blocks of positions that yield one candidate each."""
_BASIS_WINDOWS = 1024
_MIN_DEVIATION = 1.0
"""Grey values: what varies less has no direction."""


class NoWindow(ValueError):
    """A canvas has no window of the size that is sought."""


@dataclass(frozen=True)
class Peaks:
    """The best positions of each template, best first."""

    center_xy: torch.Tensor
    """Centre of the template, canvas pixels. float64 [N, K, 2]."""
    score: torch.Tensor
    """Correlation in [-1, 1]; -1 where there was no further position. float32 [N, K]."""


def masked_peaks(
    canvas: Canvas, templates: torch.Tensor, masks: torch.Tensor, num: int, min_overlap: float
) -> Peaks:
    """Correlation of templates of any size with what a small canvas shows, over its edges too.

    Only pixels that are both in the template and covered count; where they are fewer than the
    template's, the score is lowered as chance would raise it.

    Args:
        canvas: Small; everything is transformed whole.
        templates: Grey values, 0 outside the mask. float32 [N, T, T].
        masks: 1 where the template has pixels, else 0. float32 [N, T, T].
        num: Positions to return for each template.
        min_overlap: Part of the template that must lie on covered pixels, in (0, 1].

    Source: D. Padfield 2012, "Masked object registration in the Fourier domain".
    """
    size = templates.shape[-1]
    width, height = canvas.size_wh
    shape = (_smooth(height + size - 1), _smooth(width + size - 1))
    mask = canvas.covered.float()
    grey = canvas.image.float().mean(-1) * mask
    center = grey.sum() / mask.sum().clamp_min(1.0)
    grey = (grey - center) * mask  # smaller numbers: less rounding in the sums below

    def correlate(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Sums over templates (b) at all shifts, [N, *shape]."""
        return torch.fft.irfft2(a * b.conj(), s=shape)

    image_f, square_f, mask_f = (torch.fft.rfft2(x, s=shape) for x in (grey, grey.square(), mask))
    count = masks.sum((-2, -1), keepdim=True)
    templates = (templates - templates.sum((-2, -1), keepdim=True) / count) * masks
    template_f, template_square_f, template_mask_f = (
        torch.fft.rfft2(x, s=shape) for x in (templates, templates.square(), masks)
    )
    overlap = correlate(mask_f, template_mask_f).clamp_min(1.0)
    mean_a = correlate(image_f, template_mask_f) / overlap
    mean_b = correlate(mask_f, template_f) / overlap
    cross = correlate(image_f, template_f) / overlap - mean_a * mean_b
    var_a = correlate(square_f, template_mask_f) / overlap - mean_a.square()
    var_b = correlate(mask_f, template_square_f) / overlap - mean_b.square()
    floor = _MIN_DEVIATION**2
    score = cross / (var_a.clamp_min(floor) * var_b.clamp_min(floor)).sqrt()
    # Fewer pixels agree by chance more easily: 1 - r grows as the overlap shrinks.
    share = overlap / count
    score = 1 - (1 - score) / share.clamp(max=1.0)
    score = torch.where(share >= min_overlap, score, -1.0)
    return _local_maxima(score, shape, size, num)


def _local_maxima(score: torch.Tensor, shape: tuple[int, int], size: int, num: int) -> Peaks:
    """The `num` highest local maxima; a shift beyond `shape - size` is a negative one."""
    pooled = F.max_pool2d(score[:, None], 3, 1, 1)[:, 0]
    values, at = torch.where(score == pooled, score, -1.0).flatten(1).topk(num, dim=1)
    y, x = at // shape[1], at % shape[1]
    offset = []
    for index, length, stride in ((x, shape[1], 1), (y, shape[0], shape[1])):
        before = at - index * stride + (index - 1) % length * stride
        after = at - index * stride + (index + 1) % length * stride
        offset.append(_parabola(*(score.flatten(1).gather(1, i) for i in (before, at, after))))
    first = [torch.where(i > n - size, i - n, i) for i, n in ((x, shape[1]), (y, shape[0]))]
    center = torch.stack([f + size / 2 + o for f, o in zip(first, offset)], -1)
    return Peaks(center.double(), values)


def _parabola(before: torch.Tensor, peak: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Where the parabola through three values has its top, in [-0.5, 0.5] of the middle."""
    curve = before - 2 * peak + after
    return ((before - after) / (2 * curve.clamp(max=-1e-6))).clamp(-0.5, 0.5)


def _smooth(length: int) -> int:
    """The next length without prime factors above 5: such transforms are quick."""
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1


class Index:
    """All windows of a canvas as short vectors, in which like windows are near.

    A window, without its mean colour, is projected on the directions in which the windows of this
    canvas vary most, each weakened so that the few largest do not outvote the rest, and brought to
    unit length. Then the correlation of every template with every window is one matrix product.
    """

    def __init__(
        self, canvas: Canvas, size: int, dtype: torch.dtype, workers: Workers, dims: int = 32
    ) -> None:
        """Describe the windows of `size` pixels a side that are covered but for a rim.

        Raises:
            NoWindow: There is none.
        """
        self.size = size
        self._rim = max(1, size // 8)
        canvas = grown(canvas, self._rim)
        self._dtype = dtype
        width, height = canvas.size_wh
        columns, rows = width - size + 1, height - size + 1
        if min(columns, rows) < 1:
            raise NoWindow(
                f"a canvas must have {size} pixels a side at least, got {width} x {height}."
            )
        whole = -F.max_pool2d(-canvas.covered.float()[None], size, 1)[0] > 0.5
        self._basis = self._make_basis(canvas, whole, dims)
        blocks_x, blocks_y = -(-columns // _BLOCK), -(-rows // _BLOCK)
        self._blocks_x = blocks_x
        # [places in a block, blocks, dims]: the best of a block is a maximum over the first.
        self._vectors = torch.empty(
            _BLOCK * _BLOCK,
            blocks_y * blocks_x,
            len(self._basis),
            dtype=dtype,
            device=canvas.image.device,
        )

        def describe(block: int) -> None:
            first, last = block * _BLOCK, min(rows, (block + _STRIPE) * _BLOCK)
            stripe = canvas.image[first : last + size - 1].permute(2, 0, 1).float()
            vectors = self._project_map(stripe) * whole[first:last]
            pad = (0, blocks_x * _BLOCK - columns, 0, -(last - first) % _BLOCK)
            vectors = F.pad(vectors, pad)
            vectors = vectors.unflatten(2, (-1, _BLOCK)).unflatten(1, (-1, _BLOCK))
            vectors = vectors.permute(2, 4, 1, 3, 0).flatten(2, 3).flatten(0, 1)
            begin = block * blocks_x
            self._vectors[:, begin : begin + vectors.shape[1]] = vectors.to(dtype)

        for _ in workers.map(describe, range(0, blocks_y, _STRIPE)):
            pass

    def peaks(self, templates: torch.Tensor, num: int) -> Peaks:
        """The best window of each of the `num` best blocks.

        Args:
            templates: float32 [N, 3, size, size].
            num: Candidates a template.
        """
        vectors = _unit(templates.flatten(1) @ self._basis.flatten(1).T).to(self._dtype)
        places, blocks, _ = self._vectors.shape
        piece = max(1, _SCORES // (places * max(1, len(templates))))
        best, best_at = [], []
        for begin in range(0, blocks, piece):
            part = self._vectors[:, begin : begin + piece].mT
            scores = torch.bmm(vectors.expand(places, -1, -1), part)  # [places, N, blocks]
            value, block = scores.amax(0).float().topk(min(num, part.shape[2]), dim=1)
            within = scores.gather(2, block.expand(places, -1, -1)).argmax(0)
            best.append(value)
            best_at.append((begin + block) * places + within)
        value, order = torch.cat(best, 1).topk(min(num, sum(b.shape[1] for b in best)), dim=1)
        at = torch.cat(best_at, 1).gather(1, order)
        block, within = at // places, at % places
        y = block // self._blocks_x * _BLOCK + within // _BLOCK
        x = block % self._blocks_x * _BLOCK + within % _BLOCK
        return Peaks(torch.stack([x, y], -1).double() + (self.size / 2 - self._rim), value)

    def _make_basis(self, canvas: Canvas, whole: torch.Tensor, dims: int) -> torch.Tensor:
        """Filters [dims, 3, size, size]: principal directions over the root of their deviation."""
        places = whole.nonzero()
        if len(places) == 0:
            raise NoWindow("no window of the canvas is covered whole.")
        generator = torch.Generator().manual_seed(0)
        chosen = torch.randint(len(places), (_BASIS_WINDOWS,), generator=generator)
        first = places[chosen.to(places.device)].flip(1)
        windows, _ = canvas.windows(first, self.size)
        windows = (windows - windows.mean((2, 3), keepdim=True)).flatten(1)
        # The smaller of the two products has the same variances.
        variance, along = torch.linalg.eigh((windows @ windows.T).double() / len(windows))
        dims = min(dims, 3 * self.size**2 - 3)
        variance, along = variance[-dims:].clamp_min(_MIN_DEVIATION), along[:, -dims:]
        vectors = windows.T.double() @ along / (variance * len(windows)).sqrt()
        vectors = vectors / variance**0.25
        return vectors.T.float().reshape(dims, 3, self.size, self.size).contiguous()

    def _project_map(self, image: torch.Tensor) -> torch.Tensor:
        """Unit vectors of all windows of an image: float32 [dims, rows, columns]."""
        return _unit(F.conv2d(image[None] - 128.0, self._basis)[0], 0)


_STRIPE = 16
"""Rows of blocks that are described at a time."""
_SCORES = 1 << 22
"""Correlations that are held at a time."""


def _unit(vectors: torch.Tensor, dim: int = 1) -> torch.Tensor:
    """To unit length; what is shorter than a grey value's deviation stays shorter."""
    return vectors / vectors.norm(dim=dim, keepdim=True).clamp_min(_MIN_DEVIATION)
