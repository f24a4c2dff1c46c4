// Windows of images on lattices of another density.
//
// Along an axis, output position o is sum_k weight[k][o] * input[clamp(first[o] + k)]. Both axes'
// positions lie one after the other, [batch][out_w] and then [batch][out_h], in one buffer of
// 32-bit words: `first`, int32 [positions], then the weights, float32 [taps][positions].

constexpr int AREA = 0, MIXED = 2;  // 1: Lanczos
constexpr double LOBES = 3.0;

// Overlap of input pixel [edge, edge + 1] with the box that is `width` wide.
__device__ __forceinline__ double overlap(double edge, double center, double width) {
    const double low = center - 0.5 * width, high = center + 0.5 * width;
    return fmax(fmin(edge + 1.0, high) - fmax(edge, low), 0.0);
}

__device__ __forceinline__ double sinc(double t) {
    return t == 0.0 ? 1.0 : sinpi(t) / (3.14159265358979323846 * t);
}

__device__ __forceinline__ double lanczos(double edge, double center, double width) {
    const double t = (edge + 0.5 - center) / width;
    return fabs(t) < LOBES ? sinc(t) * sinc(t / LOBES) : 0.0;
}

// Taps of both axes, one thread a position; placement: [batch][x, y, step]. On the way to a centre
// and to its first tap no product is fused with a sum: both come out bit for bit as on the CPU.
__global__ void resample_taps(
    const double* __restrict__ placement, int* __restrict__ first, int batch, int in_h, int in_w,
    int out_h, int out_w, int taps, int filter) {
    const int64 along_x = (int64)batch * out_w, positions = along_x + (int64)batch * out_h;
    float* const weights = (float*)(first + positions);
    for (int64 p = global_thread(); p < positions; p += global_threads()) {
        const bool is_x = p < along_x;
        const int64 index = is_x ? p : p - along_x;
        const int size = is_x ? out_w : out_h;
        const double* const place = placement + index / size * 3;
        const double step = place[2], width = fmax(step, 1.0);
        const double center = __dadd_rn(place[is_x ? 0 : 1], __dmul_rn(index % size + 0.5, step));
        const double box = filter == MIXED ? fmin(fmax(log2(step), 0.0), 1.0)  // share of the box
                                           : (filter == AREA ? 1.0 : 0.0);
        const double reach = __dmul_rn(width, filter == AREA ? 0.5 : LOBES);
        const double from = floor(__dadd_rn(center, -reach));
        double box_sum = 0.0, sharp_sum = 0.0;
        for (int k = 0; k < taps; ++k) {
            if (box > 0.0) box_sum += overlap(from + k, center, width);
            if (box < 1.0) sharp_sum += lanczos(from + k, center, width);
        }
        for (int k = 0; k < taps; ++k) {
            double weight = 0.0;
            if (box > 0.0) weight += overlap(from + k, center, width) / box_sum * box;
            if (box < 1.0) weight += lanczos(from + k, center, width) / sharp_sum * (1.0 - box);
            weights[k * positions + p] = (float)weight;
        }
        // Beyond the edges all taps read the edge pixel, however far: keeps int32 and loops short.
        first[p] = (int)fmin(fmax(from, (double)-taps), (double)(is_x ? in_w : in_h));
    }
}

// One axis of one image: `first[o]`, and `weights[k * stride + o]`.
struct Axis {
    const int* first;
    const float* weights;
    int64 stride;
};

__device__ __forceinline__ Axis axis_of(
    const int* __restrict__ taps, int batch, int out_h, int out_w, int64 n, bool is_x) {
    const int64 positions = (int64)batch * out_w + (int64)batch * out_h;
    const int64 begin = is_x ? n * out_w : (int64)batch * out_w + n * out_h;
    return {taps + begin, (const float*)(taps + positions) + begin, positions};
}

__device__ __forceinline__ float to_float(unsigned char value) { return (float)value; }

// A block of 256 threads makes COLUMNS x ROWS pixels. A warp has 32 neighbouring columns.
constexpr int COLUMNS = 32, WARPS = 8, ROWS = 16, MINE = ROWS / WARPS;
constexpr int CHUNK = 32, FEW = 16;  // lines between two barriers; fewer where that is all

struct Tile {
    int x, y, channel;  // first ones
    int64 n;
};

__device__ __forceinline__ Tile tile_of(unsigned int block, int width, int height, int groups,
                                        int group) {
    const int tiles_x = (width + COLUMNS - 1) / COLUMNS, tiles_y = (height + ROWS - 1) / ROWS;
    Tile tile;
    tile.x = (int)(block % tiles_x) * COLUMNS;
    block /= tiles_x;
    tile.y = (int)(block % tiles_y) * ROWS;
    block /= tiles_y;
    tile.channel = (int)(block % groups) * group;
    tile.n = block / groups;
    return tile;
}

// What a chunk's lines sum to along x, C channels of L lines a thread. All loads of a tap come
// before what is done with them: that many are under way at once. Lines from `end_line` on repeat
// the last one.
template <typename T, int C, int L>
__device__ __forceinline__ void filter_lines(
    const T* __restrict__ image, int64 img_c, int64 img_y, int64 img_x, int in_h, int in_w,
    int base, int end_line, int left, const float* __restrict__ weights, int64 stride, int num_taps,
    float* filtered) {
    const int column = threadIdx.x % COLUMNS, warp = threadIdx.x / COLUMNS;
    const T* lines[L];
#pragma unroll
    for (int j = 0; j < L; ++j) {
        const int line = base + warp + j * WARPS;
        lines[j] = image + clamp_index(line < end_line ? line : end_line - 1, in_h) * img_y;
    }
    float sums[L][C] = {};
    for (int k = 0; k < num_taps; ++k) {
        const float weight = weights[k * stride];
        const int64 at = clamp_index(left + k, in_w) * img_x;
        T values[L][C];
#pragma unroll
        for (int j = 0; j < L; ++j) {
#pragma unroll
            for (int c = 0; c < C; ++c) values[j][c] = lines[j][at + c * img_c];
        }
#pragma unroll
        for (int j = 0; j < L; ++j) {
#pragma unroll
            for (int c = 0; c < C; ++c) sums[j][c] += weight * to_float(values[j][c]);
        }
    }
#pragma unroll
    for (int j = 0; j < L; ++j) {
#pragma unroll
        for (int c = 0; c < C; ++c) {
            filtered[(c * CHUNK + warp + j * WARPS) * COLUMNS + column] = sums[j][c];
        }
    }
}

// The input lines that a tile needs are filtered along x into shared memory, then along y: work a
// pixel is the sum of the taps along both axes, not their product. There the lines all fit at once
// unless the step is large; else they come CHUNK by CHUNK. Shared: C * CHUNK * COLUMNS floats.
template <typename T, typename O, int C>
__global__ void __launch_bounds__(256, 3) resample_forward(
    const T* __restrict__ img, const int* __restrict__ taps, O* __restrict__ out, int batch,
    int channels, int in_h, int in_w, int out_h, int out_w, int num_taps,
    int64 img_n, int64 img_c, int64 img_y, int64 img_x) {
    SHARED_MEMORY(memory);
    float* const filtered = (float*)memory;  // [C][CHUNK][COLUMNS]
    const Tile tile = tile_of(blockIdx.x, out_w, out_h, channels / C, C);
    const int column = threadIdx.x % COLUMNS, warp = threadIdx.x / COLUMNS;
    const Axis along_x = axis_of(taps, batch, out_h, out_w, tile.n, true);
    const Axis along_y = axis_of(taps, batch, out_h, out_w, tile.n, false);
    // Threads beyond the window repeat its last column or row, and store nothing.
    const int x = clamp_index(tile.x + column, out_w);
    const int left = along_x.first[x];
    const float* const weights_x = along_x.weights + x;
    int top[MINE];
    const float* weights_y[MINE];
#pragma unroll
    for (int i = 0; i < MINE; ++i) {
        const int y = clamp_index(tile.y + warp + i * WARPS, out_h);
        top[i] = along_y.first[y];
        weights_y[i] = along_y.weights + y;
    }
    const int first_line = along_y.first[tile.y];
    const int end_line = along_y.first[clamp_index(tile.y + ROWS - 1, out_h)] + num_taps;
    const T* const image = img + tile.n * img_n + tile.channel * img_c;
    float sums[MINE][C] = {};
    for (int base = first_line; base < end_line; base += CHUNK) {
        if (end_line - base <= FEW) {
            filter_lines<T, C, FEW / WARPS>(
                image, img_c, img_y, img_x, in_h, in_w, base, end_line, left, weights_x,
                along_x.stride, num_taps, filtered);
        } else {
            filter_lines<T, C, CHUNK / WARPS>(
                image, img_c, img_y, img_x, in_h, in_w, base, end_line, left, weights_x,
                along_x.stride, num_taps, filtered);
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < MINE; ++i) {
            const int begin = base > top[i] ? base - top[i] : 0;
            const int end = base + CHUNK - top[i] < num_taps ? base + CHUNK - top[i] : num_taps;
            for (int k = begin; k < end; ++k) {
                const float weight = weights_y[i][k * along_y.stride];
                const float* const line = filtered + (top[i] + k - base) * COLUMNS + column;
#pragma unroll
                for (int c = 0; c < C; ++c) sums[i][c] += weight * line[c * CHUNK * COLUMNS];
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < MINE; ++i) {
        const int row = tile.y + warp + i * WARPS;
        if (tile.x + column >= out_w || row >= out_h) continue;
#pragma unroll
        for (int c = 0; c < C; ++c) {
            out[((tile.n * channels + tile.channel + c) * out_h + row) * out_w + tile.x + column] =
                from_float<O>(sums[i][c]);
        }
    }
}

// How many of an axis's outputs begin below `value`; `first` never falls along a window.
__device__ __forceinline__ int count_below(const int* __restrict__ first, int size, int value) {
    int low = 0, high = size;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (first[middle] < value) low = middle + 1;
        else high = middle;
    }
    return low;
}

// The first output whose taps may reach input pixel i, or the one after the last. The edge pixels
// also stand for everything beyond them.
__device__ __forceinline__ int touching(
    const Axis& axis, int size, int taps, int i, int length, bool last) {
    if (last) return i == length - 1 ? size : count_below(axis.first, size, i + 1);
    return i == 0 ? 0 : count_below(axis.first, size, i - taps + 1);
}

// Weight with which output o reads input pixel i.
__device__ __forceinline__ float weight_on(const Axis& axis, int o, int taps, int i, int length) {
    const int first = axis.first[o];
    const float* const weights = axis.weights + o;
    if (i > 0 && i < length - 1) {
        return i >= first && i - first < taps ? weights[(i - first) * axis.stride] : 0.0f;
    }
    float sum = 0.0f;
    for (int k = 0; k < taps; ++k) {
        if (clamp_index(first + k, length) == i) sum += weights[k * axis.stride];
    }
    return sum;
}

constexpr int BOUNDS = 2 * (COLUMNS + ROWS);

// As `filter_lines`, of what lands on input column x from outputs [begin, end).
template <typename T, int C, int L>
__device__ __forceinline__ void gather_lines(
    const T* __restrict__ image, int64 grad_c, int64 grad_y, int64 grad_x, int base, int end_line,
    int begin, int end, const Axis& axis, int num_taps, int x, int in_w, float* filtered) {
    const int column = threadIdx.x % COLUMNS, warp = threadIdx.x / COLUMNS;
    const T* lines[L];
#pragma unroll
    for (int j = 0; j < L; ++j) {
        const int line = base + warp + j * WARPS;
        lines[j] = image + (line < end_line ? line : end_line - 1) * grad_y;
    }
    float sums[L][C] = {};
    for (int o = begin; o < end; ++o) {
        T values[L][C];
#pragma unroll
        for (int j = 0; j < L; ++j) {
#pragma unroll
            for (int c = 0; c < C; ++c) values[j][c] = lines[j][o * grad_x + c * grad_c];
        }
        const float weight = weight_on(axis, o, num_taps, x, in_w);
#pragma unroll
        for (int j = 0; j < L; ++j) {
#pragma unroll
            for (int c = 0; c < C; ++c) sums[j][c] += weight * to_float(values[j][c]);
        }
    }
#pragma unroll
    for (int j = 0; j < L; ++j) {
#pragma unroll
        for (int c = 0; c < C; ++c) {
            filtered[(c * CHUNK + warp + j * WARPS) * COLUMNS + column] = sums[j][c];
        }
    }
}

// grad_img of every input pixel, as the forward kernel goes: it gathers, so no two threads write
// the same place and the order of the sums is fixed. Shared: BOUNDS ints more.
template <typename T, int C>
__global__ void __launch_bounds__(256, 3) resample_backward(
    const T* __restrict__ grad, const int* __restrict__ taps, T* __restrict__ grad_img, int batch,
    int channels, int in_h, int in_w, int out_h, int out_w, int num_taps,
    int64 grad_n, int64 grad_c, int64 grad_y, int64 grad_x) {
    SHARED_MEMORY(memory);
    int* const bounds = (int*)memory;  // [2][COLUMNS], then [2][ROWS]
    float* const filtered = (float*)memory + BOUNDS;
    const Tile tile = tile_of(blockIdx.x, in_w, in_h, channels / C, C);
    const int column = threadIdx.x % COLUMNS, warp = threadIdx.x / COLUMNS;
    const Axis along_x = axis_of(taps, batch, out_h, out_w, tile.n, true);
    const Axis along_y = axis_of(taps, batch, out_h, out_w, tile.n, false);
    // The searches are chains of loads: all of them at once, each by a thread of its own.
    if (threadIdx.x < 2 * COLUMNS) {
        bounds[threadIdx.x] = touching(
            along_x, out_w, num_taps, clamp_index(tile.x + column, in_w), in_w,
            threadIdx.x >= COLUMNS);
    } else if (threadIdx.x < BOUNDS) {
        const int i = threadIdx.x - 2 * COLUMNS;
        bounds[threadIdx.x] = touching(
            along_y, out_h, num_taps, clamp_index(tile.y + i % ROWS, in_h), in_h, i >= ROWS);
    }
    __syncthreads();
    const int* const rows_begin = bounds + 2 * COLUMNS;
    const int* const rows_end = rows_begin + ROWS;
    const int x = clamp_index(tile.x + column, in_w);
    const int x_begin = bounds[column], x_end = bounds[COLUMNS + column];
    const int first_line = rows_begin[0], end_line = rows_end[ROWS - 1];
    const T* const image = grad + tile.n * grad_n + tile.channel * grad_c;
    float sums[MINE][C] = {};
    for (int base = first_line; base < end_line; base += CHUNK) {
        if (end_line - base <= FEW) {
            gather_lines<T, C, FEW / WARPS>(
                image, grad_c, grad_y, grad_x, base, end_line, x_begin, x_end, along_x, num_taps, x,
                in_w, filtered);
        } else {
            gather_lines<T, C, CHUNK / WARPS>(
                image, grad_c, grad_y, grad_x, base, end_line, x_begin, x_end, along_x, num_taps, x,
                in_w, filtered);
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < MINE; ++i) {
            const int row = warp + i * WARPS, y = clamp_index(tile.y + row, in_h);
            const int begin = rows_begin[row] > base ? rows_begin[row] : base;
            const int end = rows_end[row] < base + CHUNK ? rows_end[row] : base + CHUNK;
            for (int o = begin; o < end; ++o) {
                const float weight = weight_on(along_y, o, num_taps, y, in_h);
                const float* const line = filtered + (o - base) * COLUMNS + column;
#pragma unroll
                for (int c = 0; c < C; ++c) sums[i][c] += weight * line[c * CHUNK * COLUMNS];
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < MINE; ++i) {
        const int row = tile.y + warp + i * WARPS;
        if (tile.x + column >= in_w || row >= in_h) continue;
#pragma unroll
        for (int c = 0; c < C; ++c) {
            grad_img[((tile.n * channels + tile.channel + c) * in_h + row) * in_w + tile.x +
                     column] = from_float<T>(sums[i][c]);
        }
    }
}
