"""Features at places: grids of nodes, dense, hashed or periodic, read by linear interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kernels import _cuda
from kernels._backend import KERNEL_DTYPES, run

_HASH_PRIME = 2654435761
_DENSE, _HASHED, _PERIODIC = range(3)  # as in cuda/feature_grid.cu


def feature_grid(
    table: torch.Tensor,
    node_x: torch.Tensor,
    node_y: torch.Tensor,
    *,
    shape: tuple[int, int] | None = None,
    periodic: bool = False,
    weight: float = 1.0,
    deterministic: bool | None = None,
    impl: str | None = None,
) -> torch.Tensor:
    """Read one grid on lattices of places; call it once for each grid that speaks.

    Place (x, y) lies between nodes floor(x), floor(x) + 1 and floor(y), floor(y) + 1. Beyond the
    grid its nearest edge goes on, or, where it is `periodic`, the grid begins again.

    Args:
        table: Features of the nodes. float16/bfloat16/float32/float64, dense [rows, columns, F], or
            hashed [entries, F] with a power of two of entries.
        node_x: Columns of each lattice, in nodes. float64 [N, W], any device.
        node_y: Rows of each lattice, in nodes. float64 [N, H].
        shape: Rows and columns of a hashed grid; None where it is dense.
        periodic: A dense grid repeats without end, along both axes.
        weight: Factor on the result: how far the level lets this grid speak.
        deterministic: Sum gradients on the GPU in a fixed order (sorted by node, slower), or as the
            threads come; None follows `torch.use_deterministic_algorithms`.
        impl: 'cuda', 'ref', or None to choose by the device of `table`.

    Returns:
        float32 [N, H, W, F]. Differentiable in `table`, twice.

    Raises:
        ValueError: A shape or dtype is not as above.
        KernelUnavailable: 'cuda' was asked for and cannot be had; the message says why.

    Source: Mueller et al. 2022 (instant-ngp), section 3, for the hash and the interpolation.
    """
    _check(table, node_x, node_y, shape, periodic)
    if deterministic is None:
        deterministic = torch.are_deterministic_algorithms_enabled()
    rows, columns = shape or (table.shape[0], table.shape[1])
    layout = _HASHED if shape is not None else _PERIODIC if periodic else _DENSE
    spec = _Grid(rows, columns, layout, weight, deterministic)
    return run(
        impl,
        table,
        "feature_grid",
        lambda: _feature_grid_cuda(table, node_x, node_y, spec),
        lambda: _feature_grid_ref(table, node_x, node_y, spec),
    )


@dataclass(frozen=True)
class _Grid:
    """What is read, and how its gradient is summed."""

    rows: int
    columns: int
    layout: int
    """_DENSE, _HASHED or _PERIODIC."""
    weight: float
    deterministic: bool


def _hat_weights(nodes: torch.Tensor, first: torch.Tensor, count: int) -> torch.Tensor:
    """Linear interpolation as a banded matrix.

    Args:
        nodes: Where to read, float64 [N, L], in grid nodes.
        first: First node that was gathered, float64 [N].
        count: Nodes gathered.

    Returns:
        float32 [N, L, count]; each row sums to 1 over its two neighbours.
    """
    at = (nodes - first[:, None]).unsqueeze(2)
    index = torch.arange(count, dtype=torch.float64, device=nodes.device)
    return (1 - (at - index).abs()).clamp_(min=0).float()


def _feature_grid_ref(
    table: torch.Tensor, node_x: torch.Tensor, node_y: torch.Tensor, grid: _Grid
) -> torch.Tensor:
    """Cut out the rectangle of nodes that each lattice covers, and interpolate.

    Two banded matrix products where a gradient is wanted: theirs are such products again. Else two
    blends of neighbours, an eighth of the time for large windows.
    """
    n, height_out, width_out = len(node_x), node_y.shape[1], node_x.shape[1]
    if 0 in (n, height_out, width_out):
        return table.new_zeros(n, height_out, width_out, table.shape[-1], dtype=torch.float32)
    keeps_grad = torch.is_grad_enabled() and table.requires_grad
    if grid.layout == _PERIODIC and not keeps_grad:
        size = (grid.columns, grid.rows)
        return _blended(table.float().expand(n, -1, -1, -1), node_x, node_y, grid.weight, size)
    first_x, first_y = node_x.amin(1).floor(), node_y.amin(1).floor()
    width = int((node_x.amax(1).floor() - first_x).max()) + 2
    height = int((node_y.amax(1).floor() - first_y).max()) + 2
    starts = [(int(y), int(x)) for y, x in zip(first_y, first_x, strict=True)]
    cells = _gather(table, starts, height, width, grid).float()
    if not keeps_grad:
        return _blended(cells, node_x - first_x[:, None], node_y - first_y[:, None], grid.weight)
    features = cells.shape[3]
    along_x = _hat_weights(node_x, first_x, width).to(cells.device)
    along_y = _hat_weights(node_y, first_y, height).to(cells.device)
    if grid.weight != 1.0:
        along_y = along_y * grid.weight
    rows = torch.bmm(along_x, cells.transpose(1, 2).flatten(2))  # [N, W, height * features]
    rows = rows.view(n, -1, height, features).transpose(1, 2).flatten(2)
    return torch.bmm(along_y, rows).view(n, height_out, width_out, features)


def _blended(
    cells: torch.Tensor,
    node_x: torch.Tensor,
    node_y: torch.Tensor,
    weight: float,
    period: tuple[int, int] | None = None,
) -> torch.Tensor:
    """Interpolate nodes [N, height, width, F] at columns [N, W] and rows [N, H] of them.

    With a `period` (columns, rows) they begin again after so many.
    """
    n, _, width, features = cells.shape
    out = cells.new_empty(n, node_y.shape[1], node_x.shape[1], features)
    for img, nodes, x, y in zip(out, cells, node_x, node_y, strict=True):
        column, row = x.floor().long().to(cells.device), y.floor().long().to(cells.device)
        right, below = column + 1, row + 1
        if period is not None:
            column, right = column % period[0], right % period[0]
            row, below = row % period[1], below % period[1]
        part_x = (x - x.floor()).float().to(cells.device)[None, :, None]
        part_y = (y - y.floor()).float().to(cells.device)[:, None]
        lines = nodes.flatten(1)
        lines = torch.lerp(lines.index_select(0, row), lines.index_select(0, below), part_y)
        if weight != 1.0:
            lines *= weight
        lines = lines.view(-1, width, features)
        torch.lerp(lines.index_select(1, column), lines.index_select(1, right), part_x, out=img)
    return out


def _gather(
    table: torch.Tensor, starts: list[tuple[int, int]], height: int, width: int, grid: _Grid
) -> torch.Tensor:
    """Nodes [N, height, width, F], from `starts` (row, column) on."""
    cut = []
    for y, x in starts:
        if grid.layout == _PERIODIC:
            y, x = y % grid.rows, x % grid.columns
        if _inside(grid, y, x, height, width):
            cut.append(table[y : y + height, x : x + width])
        else:
            flat = _table_rows(grid, table=table, y=y, x=x, height=height, width=width)
            nodes = table.view(-1, table.shape[-1])[flat]
            cut.append(nodes.view(height, width, table.shape[-1]))
    return torch.stack(cut)


def _inside(grid: _Grid, y: int, x: int, height: int, width: int) -> bool:
    """Whether a rectangle is a plain slice of the table."""
    fits = y >= 0 and y + height <= grid.rows and x >= 0 and x + width <= grid.columns
    return fits and grid.layout != _HASHED


def _table_rows(
    grid: _Grid, *, table: torch.Tensor, y: int, x: int, height: int, width: int
) -> torch.Tensor:
    """Row of the flat table for each node of a rectangle: int64, flat.

    Clamped at the edges, or around them where the grid is periodic.
    """
    index_y = torch.arange(y, y + height, device=table.device)
    index_x = torch.arange(x, x + width, device=table.device)
    if grid.layout == _PERIODIC:
        index_y, index_x = index_y % grid.rows, index_x % grid.columns
    else:
        index_y, index_x = index_y.clamp(0, grid.rows - 1), index_x.clamp(0, grid.columns - 1)
    if grid.layout == _HASHED:
        product = index_y[:, None] * _HASH_PRIME  # the low 32 bits are what the kernel has
        return ((index_x ^ product) & (table.shape[0] - 1)).flatten()
    return (index_y[:, None] * grid.columns + index_x).flatten()


def _feature_grid_cuda(
    table: torch.Tensor, node_x: torch.Tensor, node_y: torch.Tensor, grid: _Grid
) -> torch.Tensor:
    places = [
        nodes.double().contiguous().to(table.device, non_blocking=True)
        for nodes in (node_x, node_y)
    ]
    return _Lookup.apply(table, *places, grid)


class _Lookup(torch.autograd.Function):
    """Linear in the table; its derivative is `_LookupTransposed`, and the other way round."""

    @staticmethod
    def forward(
        ctx: Any, table: torch.Tensor, node_x: torch.Tensor, node_y: torch.Tensor, grid: _Grid
    ) -> torch.Tensor:
        ctx.save_for_backward(node_x, node_y)
        ctx.grid, ctx.shape, ctx.dtype = grid, table.shape, table.dtype
        table = table.contiguous()
        features = table.shape[-1]
        shape = (len(node_x), node_y.shape[1], node_x.shape[1], features)
        out = torch.empty(shape, dtype=torch.float32, device=table.device)
        vector = _vector_width(table)
        name = f"{_cuda.TYPE_NAMES[table.dtype]}, {vector}"
        count = out.numel() // vector
        _cuda.launch(
            "feature_grid",
            _cuda.Kernel("feature_grid", f"feature_grid_forward<{name}>"),
            out.device,
            blocks=_cuda.blocks_for(count, 128),
            threads=128,
            args=[
                table,
                node_x,
                node_y,
                out,
                *_sizes(node_x, node_y, grid, table),
                np.int32(features),
                np.float32(grid.weight),
                np.int64(count),
            ],
        )
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        node_x, node_y = ctx.saved_tensors
        grad = grads[0].contiguous()
        grad_table = _LookupTransposed.apply(grad, node_x, node_y, ctx.grid, ctx.shape, ctx.dtype)
        return grad_table, None, None, None


class _LookupTransposed(torch.autograd.Function):
    """Gradient of the features to a dense gradient of the table."""

    @staticmethod
    def forward(
        ctx: Any,
        grad: torch.Tensor,
        node_x: torch.Tensor,
        node_y: torch.Tensor,
        grid: _Grid,
        shape: torch.Size,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        ctx.save_for_backward(node_x, node_y)
        ctx.grid = grid
        total = torch.zeros(shape, dtype=torch.float32, device=grad.device)
        _scatter(grad, node_x, node_y, grid, total)
        return total.to(dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        out = _Lookup.apply(grads[0], *ctx.saved_tensors, ctx.grid)
        return out, None, None, None, None, None


def _scatter(
    grad: torch.Tensor,
    node_x: torch.Tensor,
    node_y: torch.Tensor,
    grid: _Grid,
    total: torch.Tensor,
) -> None:
    """Add the gradient of the features, float32 contiguous, to that of the table, likewise."""
    features = grad.shape[-1]
    sizes = _sizes(node_x, node_y, grid, total)
    if not grid.deterministic:
        _cuda.launch(
            "feature_grid",
            _cuda.Kernel("feature_grid", "feature_grid_scatter"),
            grad.device,
            blocks=_cuda.blocks_for(grad.numel(), 256),
            threads=256,
            args=[
                grad,
                node_x,
                node_y,
                total,
                *sizes,
                np.int32(features),
                np.float32(grid.weight),
                np.int64(grad.numel()),
            ],
        )
        return
    pixels = grad.numel() // features
    row_of = torch.empty(pixels * 4, dtype=torch.int64, device=grad.device)
    weight_of = torch.empty(pixels * 4, dtype=torch.float32, device=grad.device)
    _cuda.launch(
        "feature_grid",
        _cuda.Kernel("feature_grid", "feature_grid_corners"),
        grad.device,
        blocks=_cuda.blocks_for(pixels, 128),
        threads=128,
        args=[node_x, node_y, row_of, weight_of, *sizes, np.int64(pixels)],
    )
    sorted_rows, order = row_of.sort(stable=True)
    _cuda.launch(
        "feature_grid",
        _cuda.Kernel("feature_grid", "feature_grid_gather"),
        grad.device,
        blocks=_cuda.blocks_for(pixels * 4 * features, 256),
        threads=256,
        args=[
            grad,
            sorted_rows,
            order,
            weight_of,
            total,
            np.int32(features),
            np.float32(grid.weight),
            np.int64(pixels * 4),
        ],
    )


def _sizes(
    node_x: torch.Tensor, node_y: torch.Tensor, grid: _Grid, table: torch.Tensor
) -> list[np.generic]:
    """Width, height, layout, rows, columns, entries, as the kernels take them."""
    numbers = (node_x.shape[1], node_y.shape[1], grid.layout, grid.rows, grid.columns)
    entries = table.numel() // table.shape[-1]
    return [*(np.int32(v) for v in numbers), np.int64(entries)]


def _vector_width(table: torch.Tensor) -> int:
    """Features that one load takes: 4 or 2 where they are whole and aligned, else 1."""
    for width in (4, 2):
        size = width * table.element_size()
        if table.shape[-1] % width == 0 and table.data_ptr() % size == 0:
            return width
    return 1


def _check(
    table: torch.Tensor,
    node_x: torch.Tensor,
    node_y: torch.Tensor,
    shape: tuple[int, int] | None,
    periodic: bool,
) -> None:
    """Raise ValueError unless the arguments of `feature_grid` fit together."""
    wanted = "[rows, columns, F]" if shape is None else "[entries, F]"
    if (
        table.dtype not in (*KERNEL_DTYPES, torch.float64)
        or table.ndim != (3 if shape is None else 2)
        or table.numel() == 0
    ):
        raise ValueError(
            f"table must be floating point {wanted} with something in it, got {table.dtype} "
            f"{list(table.shape)}."
        )
    if shape is not None and table.shape[0] & (table.shape[0] - 1):
        raise ValueError(f"a hashed table must have 2**k entries, got {table.shape[0]}.")
    if shape is not None and periodic:
        raise ValueError("a hashed table cannot be periodic; leave out shape or periodic.")
    if shape is not None and min(shape) < 1:
        raise ValueError(f"shape must be rows and columns of at least 1, got {shape}.")
    if (
        node_x.ndim != 2
        or node_y.ndim != 2
        or len(node_x) != len(node_y)
        or {node_x.dtype, node_y.dtype} != {torch.float64}
    ):
        raise ValueError(
            f"node_x and node_y must be float64 [N, W] and [N, H], got {node_x.dtype} "
            f"{list(node_x.shape)} and {node_y.dtype} {list(node_y.shape)}."
        )
