// Windows of images on lattices of another density, from taps that the host has worked out.
//
// Along an axis, output pixel o is sum_k weights[o][k] * input[clamp(first[o] + k)].
// first: int32 [batch][size]; weights: float32 [batch][size][taps].

constexpr int COLUMNS = 32, ROWS = 8;  // 256 threads; a warp stores 32 neighbouring pixels

// A block makes 8 x 32 output pixels of one channel. It walks over the input rows that they need,
// 8 at a time: each is first filtered along x into shared memory, then added where it belongs. Work
// a pixel is the sum of the taps along both axes, not their product, for any step.
template <typename T>
__global__ void __launch_bounds__(256) resample_forward(
    const T* __restrict__ img, const int* __restrict__ first_x, const float* __restrict__ weights_x,
    const int* __restrict__ first_y, const float* __restrict__ weights_y, T* __restrict__ out,
    int channels, int in_h, int in_w, int out_h, int out_w, int taps_x, int taps_y,
    int64 img_n, int64 img_c, int64 img_y, int64 img_x,
    int64 out_n, int64 out_c, int64 out_y, int64 out_x) {
    SHARED_MEMORY(memory);
    float* const filtered = (float*)memory;  // [ROWS][COLUMNS]
    const int tiles_x = (out_w + COLUMNS - 1) / COLUMNS, tiles_y = (out_h + ROWS - 1) / ROWS;
    unsigned int block = blockIdx.x;
    const int x0 = (int)(block % tiles_x) * COLUMNS;
    block /= tiles_x;
    const int y0 = (int)(block % tiles_y) * ROWS;
    block /= tiles_y;
    const int c = (int)(block % channels);
    const int64 n = block / channels;
    const int column = threadIdx.x % COLUMNS, row = threadIdx.x / COLUMNS;
    // Threads beyond the window repeat its last column or row, and store nothing.
    const int64 my_x = n * out_w + clamp_index(x0 + column, out_w);
    const int64 my_y = n * out_h + clamp_index(y0 + row, out_h);
    const int left = first_x[my_x], top = first_y[my_y];
    const int first_row = first_y[n * out_h + y0];
    const int last_row = first_y[n * out_h + clamp_index(y0 + ROWS - 1, out_h)] + taps_y;
    const T* const image = img + n * img_n + c * img_c;
    float sum = 0.0f;
    for (int base = first_row; base < last_row; base += ROWS) {
        const T* const line = image + clamp_index(base + row, in_h) * img_y;
        float along_x = 0.0f;
        for (int k = 0; k < taps_x; ++k) {
            along_x += weights_x[my_x * taps_x + k] *
                       to_float(line[clamp_index(left + k, in_w) * img_x]);
        }
        filtered[threadIdx.x] = along_x;
        __syncthreads();
        for (int r = 0; r < ROWS; ++r) {
            const int k = base + r - top;
            if (k >= 0 && k < taps_y) {
                sum += weights_y[my_y * taps_y + k] * filtered[r * COLUMNS + column];
            }
        }
        __syncthreads();
    }
    if (x0 + column < out_w && y0 + row < out_h) {
        out[n * out_n + c * out_c + (y0 + row) * out_y + (x0 + column) * out_x] =
            from_float<T>(sum);
    }
}

// Outputs [begin, end) whose taps may reach input pixel i; `first` never falls along a window.
__device__ __forceinline__ void touching(
    const int* __restrict__ first, int size, int taps, int i, int length, int& begin, int& end) {
    // The edge pixels also stand for everything beyond them.
    const int from = i == 0 ? -2147483647 - 1 : i - taps + 1;
    int low = 0, high = size;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (first[middle] < from) low = middle + 1;
        else high = middle;
    }
    begin = low;
    high = size;
    if (i < length - 1) {
        while (low < high) {
            const int middle = (low + high) / 2;
            if (first[middle] <= i) low = middle + 1;
            else high = middle;
        }
    }
    end = high;
}

// Weight with which an output pixel reads input pixel i.
__device__ __forceinline__ float weight_on(
    int first, const float* __restrict__ weights, int taps, int i, int length) {
    if (i > 0 && i < length - 1) {
        return i >= first && i - first < taps ? weights[i - first] : 0.0f;
    }
    float sum = 0.0f;
    for (int k = 0; k < taps; ++k) {
        if (clamp_index(first + k, length) == i) sum += weights[k];
    }
    return sum;
}

// grad_img of every input pixel: gathers, so no two threads write the same place and the order of
// the sums is fixed. One thread a pixel.
template <typename T>
__global__ void __launch_bounds__(256) resample_backward(
    const T* __restrict__ grad, const int* __restrict__ first_x,
    const float* __restrict__ weights_x, const int* __restrict__ first_y,
    const float* __restrict__ weights_y, T* __restrict__ grad_img,
    int channels, int in_h, int in_w, int out_h, int out_w, int taps_x, int taps_y,
    int64 grad_n, int64 grad_c, int64 grad_y, int64 grad_x, int64 count) {
    for (int64 i = global_thread(); i < count; i += global_threads()) {
        const int column = (int)(i % in_w), row = (int)(i / in_w % in_h);
        const int64 c = i / in_w / in_h % channels, n = i / in_w / in_h / channels;
        int x_begin, x_end, y_begin, y_end;
        touching(first_x + n * out_w, out_w, taps_x, column, in_w, x_begin, x_end);
        touching(first_y + n * out_h, out_h, taps_y, row, in_h, y_begin, y_end);
        float sum = 0.0f;
        for (int y = y_begin; y < y_end; ++y) {
            const float weight_y = weight_on(first_y[n * out_h + y],
                                             weights_y + (n * out_h + y) * taps_y, taps_y, row,
                                             in_h);
            float line = 0.0f;
            for (int x = x_begin; x < x_end; ++x) {
                line += weight_on(first_x[n * out_w + x], weights_x + (n * out_w + x) * taps_x,
                                  taps_x, column, in_w) *
                        to_float(grad[n * grad_n + c * grad_c + y * grad_y + x * grad_x]);
            }
            sum += weight_y * line;
        }
        grad_img[i] = from_float<T>(sum);
    }
}
