// Raise the rate, leaky ReLU, lower the rate: one pass from global memory to global memory.
//
// Along one axis, with both filters already flipped:
//   raised[r] = gain * sum_k fu[k] * stuffed[r + k - pad],   r in [0, raised_size), else 0
//   out[o]    = sum_k fd[k] * act(raised[o * DOWN + start + k])
// `stuffed` is the input (plus bias) with UP - 1 zeros after every pixel, zero outside. With
// `start` the transposed op, which the backward needs, has the same form: see kernels/_filter.py.
//
// A block makes TILE_H x TILE_W output pixels of CH neighbouring channels; the channel is the
// fastest index in shared memory, as it is in channels_last tensors (CH = 1 is for planes). Steps:
//   1. input tile to shared memory                     [IN_H][IN_W][CH]
//   2. raise along x                                   [IN_H][UP][GROUPS_W][CH]
//   3. each thread walks down one raised column with everything in registers: raise along y,
//      activation, lower along y                       [TILE_H][DOWN][LOWER_W][CH]
//   4. lower along x, store
// The map at the raised rate is never stored anywhere. Raised columns are kept apart by their
// remainder modulo UP (and DOWN), so that neighbouring threads read neighbouring words.
//
// At most 80 registers a thread (the bound of three blocks of 256 threads) hold the two filters, two
// windows and the signs of the usual 12 taps; more of them would leave too few warps to hide loads.
//
// Signs: 2 bits a raised pixel (1: below zero, 2: clamped), four rows of a column in one byte.

// A raised value, gains already in it, after slope and clamp; `sign` is set, or (SIGNS_READ) obeyed.
// A NaN stays one.
template <int SIGNS>
__device__ __forceinline__ float activate(
    float value, float slope, float clamp, unsigned int& sign) {
    if (SIGNS == SIGNS_READ) {
        const float scaled = sign & 1 ? value * slope : value;
        return sign & 2 ? 0.0f : scaled;
    }
    const bool positive = value > 0.0f;
    value = positive ? value : value * slope;
    const bool clamped = fabsf(value) > clamp;
    sign = clamped ? 2 : !positive;
    return clamped ? copysignf(clamp, value) : value;
}

__device__ __forceinline__ int positive_modulo(int a, int b) {
    const int r = a % b;
    return r < 0 ? r + b : r;
}

// Moves a number of N words of 32 bits down by `count` < 32 bits.
template <int N>
__device__ __forceinline__ void shift_down(unsigned int* words, int count) {
#pragma unroll
    for (int w = 0; w < N; ++w) {
        const unsigned long long pair =
            (unsigned long long)(w + 1 < N ? words[w + 1] : 0) << 32 | words[w];
        words[w] = (unsigned int)(pair >> count);
    }
}

template <typename T, int UP, int DOWN, int FU, int FD, int TILE_H, int TILE_W, int CH, int SIGNS>
__global__ void __launch_bounds__(256, 3) filtered_lrelu(
    const T* __restrict__ x, const float* __restrict__ fu, const float* __restrict__ fd,
    const float* __restrict__ bias, unsigned char* signs, T* __restrict__ out,
    int channels, int in_h, int in_w, int raised_h, int raised_w, int out_h, int out_w,
    int pad_y, int pad_x, int start_y, int start_x,
    int64 x_n, int64 x_c, int64 x_y, int64 x_x,
    int64 out_n, int64 out_c, int64 out_y, int64 out_x,
    int64 signs_n, int64 signs_c, int64 signs_y, int64 signs_x,
    float gain, float slope, float clamp, int vector) {
    // The tile's first raised pixel is moved back by `shift` < UP so that it coincides with an
    // input pixel; the lowering filter gets as many zeros in front.
    constexpr int FDX = FD + UP - 1;
    constexpr int READS = (FU + UP - 2) / UP + 1;  // input pixels that one raised pixel reads
    constexpr int UP_H = (TILE_H - 1) * DOWN + FDX, UP_W = (TILE_W - 1) * DOWN + FDX;
    constexpr int GROUPS_H = (UP_H + UP - 1) / UP, GROUPS_W = (UP_W + UP - 1) / UP;
    constexpr int IN_H = GROUPS_H - 1 + READS, IN_W = GROUPS_W - 1 + READS;
    constexpr int LOWER_W = (UP_W + DOWN - 1) / DOWN;
    constexpr int WORDS = (UP_H + 15) / 16;  // 16 signs of 2 bits each
    static_assert(UP <= 16 && TILE_H % 4 == 0, "signs could not be aligned");
    constexpr int FIRST = IN_H * IN_W > TILE_H * DOWN * LOWER_W ? IN_H * IN_W
                                                                : TILE_H * DOWN * LOWER_W;
    SHARED_MEMORY(memory);
    float* const tile = (float*)memory;          // step 1, then step 3
    float* const raised_x = tile + FIRST * CH;   // step 2

    const int tiles_x = (out_w + TILE_W - 1) / TILE_W, tiles_y = (out_h + TILE_H - 1) / TILE_H;
    const int groups = (channels + CH - 1) / CH;
    unsigned int block = blockIdx.x;
    const int out_x0 = (int)(block % tiles_x) * TILE_W;
    block /= tiles_x;
    const int out_y0 = (int)(block % tiles_y) * TILE_H;
    block /= tiles_y;
    const int c0 = (int)(block % groups) * CH;
    const int64 n = block / groups;

    const int shift_y = positive_modulo(out_y0 * DOWN + start_y - pad_y, UP);
    const int shift_x = positive_modulo(out_x0 * DOWN + start_x - pad_x, UP);
    const int raised_y0 = out_y0 * DOWN + start_y - shift_y;
    const int raised_x0 = out_x0 * DOWN + start_x - shift_x;
    const int in_y0 = (raised_y0 - pad_y) / UP, in_x0 = (raised_x0 - pad_x) / UP;

    // 1. Input tile: all CH channels of a pixel in one load where their addresses allow it.
    if (CH > 1 && vector) {
        float offset[CH];
#pragma unroll
        for (int c = 0; c < CH; ++c) offset[c] = bias ? bias[c0 + c] : 0.0f;
        for (int i = threadIdx.x; i < IN_H * IN_W; i += blockDim.x) {
            const int column = in_x0 + i % IN_W, row = in_y0 + i / IN_W;
            Pack<float, CH> values = {};
            if (row >= 0 && row < in_h && column >= 0 && column < in_w) {
                const Pack<T, CH> pixel =
                    *(const Pack<T, CH>*)(x + n * x_n + c0 + row * x_y + column * x_x);
#pragma unroll
                for (int c = 0; c < CH; ++c) {
                    values.values[c] = to_float(pixel.values[c]) + offset[c];
                }
            }
            *(Pack<float, CH>*)(tile + i * CH) = values;
        }
    } else {
        for (int i = threadIdx.x; i < IN_H * IN_W * CH; i += blockDim.x) {
            const int c = c0 + i % CH, column = in_x0 + i / CH % IN_W, row = in_y0 + i / CH / IN_W;
            float value = 0.0f;
            if (c < channels && row >= 0 && row < in_h && column >= 0 && column < in_w) {
                value = to_float(x[n * x_n + c * x_c + row * x_y + column * x_x]);
                if (bias) value += bias[c];
            }
            tile[i] = value;
        }
    }
    float up_taps[FU];
#pragma unroll
    for (int k = 0; k < FU; ++k) up_taps[k] = fu[FU - 1 - k];
    __syncthreads();

    // 2. Raise along x: one thread makes the UP raised pixels that start at one input pixel.
    for (int i = threadIdx.x; i < IN_H * GROUPS_W * CH; i += blockDim.x) {
        const int c = i % CH, a = i / CH % GROUPS_W, row = i / CH / GROUPS_W;
        float reads[READS];
#pragma unroll
        for (int t = 0; t < READS; ++t) reads[t] = tile[(row * IN_W + a + t) * CH + c];
#pragma unroll
        for (int s = 0; s < UP; ++s) {
            float sum = 0.0f;
#pragma unroll
            for (int t = 0; t < READS; ++t) {
                if (t * UP - s >= 0 && t * UP - s < FU) sum += up_taps[t * UP - s] * reads[t];
            }
            raised_x[((row * UP + s) * GROUPS_W + a) * CH + c] = gain * sum;
        }
    }
    float down_taps[FDX];
#pragma unroll
    for (int k = 0; k < FDX; ++k) {
        const int tap = FD - 1 - (k - shift_y);
        down_taps[k] = tap >= 0 && tap < FD ? fd[tap] : 0.0f;
    }
    __syncthreads();

    // 3. Down the columns. All indices of the two register arrays are known once unrolled.
    const bool last_row = out_y0 + TILE_H >= out_h, last_column = out_x0 + TILE_W >= out_w;
    for (int q = threadIdx.x; q < UP * GROUPS_W * CH; q += blockDim.x) {
        const int c = q % CH, a = q / CH % GROUPS_W, s_x = q / CH / GROUPS_W;
        const int local_x = a * UP + s_x, column = raised_x0 + local_x;
        if (local_x >= UP_W) continue;
        const bool inside = column >= 0 && column < raised_w && c0 + c < channels;
        unsigned char* const my_signs = signs + n * signs_n + (c0 + c) * signs_c + column * signs_x;
        unsigned int bits[WORDS + 1] = {};  // of row raised_y0 + i: two from bit 2 i on
        if (SIGNS == SIGNS_READ && inside) {
#pragma unroll
            for (int j = 0; j < (UP_H + 6) / 4; ++j) {
                const int quad = (raised_y0 >> 2) + j;
                if (quad >= 0 && quad * 4 < raised_h) {
                    bits[j / 4] |= (unsigned int)my_signs[quad * signs_y] << j % 4 * 8;
                }
            }
            shift_down<WORDS + 1>(bits, (raised_y0 & 3) * 2);
        }
        const float* const source = raised_x + (s_x * GROUPS_W + a) * CH + c;
        float* const target = tile + (local_x % DOWN * LOWER_W + local_x / DOWN) * CH + c;
        const unsigned int rows = inside ? raised_h : 0;  // beyond these the raised map is zero
        float reads[READS], raised[FDX];
#pragma unroll
        for (int t = 0; t < READS - 1; ++t) reads[t] = source[t * UP * GROUPS_W * CH];
#pragma unroll
        for (int i = 0; i < UP_H; ++i) {
            const int group = i / UP, s = i % UP;
            if (s == 0) {
                reads[(group + READS - 1) % READS] =
                    source[(group + READS - 1) * UP * GROUPS_W * CH];
            }
            float value = 0.0f;
#pragma unroll
            for (int t = 0; t < READS; ++t) {
                if (t * UP - s >= 0 && t * UP - s < FU) {
                    value += up_taps[t * UP - s] * reads[(group + t) % READS];
                }
            }
            unsigned int sign = SIGNS == SIGNS_READ ? bits[i / 16] >> i % 16 * 2 : 0;
            value = activate<SIGNS>(value, slope, clamp, sign);
            if (SIGNS == SIGNS_WRITE) {
                bits[i / 16] |= sign << i % 16 * 2;
                // Now, not later: else the compiler keeps all rows in registers until the end.
                asm volatile("" : "+r"(bits[i / 16]));
            }
            value = (unsigned int)(raised_y0 + i) < rows ? value : 0.0f;
            raised[i % FDX] = value;
            if (i >= FDX - 1 && (i - (FDX - 1)) % DOWN == 0) {
                float sum = 0.0f;
#pragma unroll
                for (int k = 0; k < FDX; ++k) {
                    sum += down_taps[k] * raised[(i - (FDX - 1) + k) % FDX];
                }
                target[(i - (FDX - 1)) / DOWN * DOWN * LOWER_W * CH] = sum;
            }
        }
        // Each tile writes the signs of the raised pixels that it shares with no tile after it.
        if (SIGNS == SIGNS_WRITE && inside && column >= out_x0 * DOWN &&
            (last_column || column < (out_x0 + TILE_W) * DOWN)) {
            shift_down<WORDS + 1>(bits, shift_y * 2);
            const int quad0 = out_y0 * DOWN / 4;
            const int end = last_row ? (raised_h + 3) / 4 : quad0 + TILE_H * DOWN / 4;
#pragma unroll
            for (int j = 0; j < (UP_H + 3) / 4; ++j) {
                if (quad0 + j < end) {
                    my_signs[(quad0 + j) * signs_y] =
                        (unsigned char)(bits[j / 4] >> j % 4 * 8);
                }
            }
        }
    }
#pragma unroll
    for (int k = 0; k < FDX; ++k) {
        const int tap = FD - 1 - (k - shift_x);
        down_taps[k] = tap >= 0 && tap < FD ? fd[tap] : 0.0f;
    }
    __syncthreads();

    // 4. Lower along x.
    for (int i = threadIdx.x; i < TILE_H * TILE_W * CH; i += blockDim.x) {
        const int c = c0 + i % CH, local_x = i / CH % TILE_W, local_y = i / CH / TILE_W;
        if (c >= channels || out_y0 + local_y >= out_h || out_x0 + local_x >= out_w) continue;
        const float* const source = tile + (local_y * DOWN * LOWER_W + local_x) * CH + i % CH;
        float sum = 0.0f;
#pragma unroll
        for (int k = 0; k < FDX; ++k) {
            sum += down_taps[k] * source[(k % DOWN * LOWER_W + k / DOWN) * CH];
        }
        out[n * out_n + c * out_c + (out_y0 + local_y) * out_y + (out_x0 + local_x) * out_x] =
            from_float<T>(sum);
    }
}

// The same for filters of two axes that do not separate: the raised tile lies in shared memory.
// Filters are float32 [fu_h][fu_w] and [fd_h][fd_w], not flipped. One channel a block.
template <typename T, int UP, int DOWN, int SIGNS>
__global__ void __launch_bounds__(256) filtered_lrelu_radial(
    const T* __restrict__ x, const float* __restrict__ fu, const float* __restrict__ fd,
    const float* __restrict__ bias, unsigned char* signs, T* __restrict__ out,
    int channels, int in_h, int in_w, int raised_h, int raised_w, int out_h, int out_w,
    int pad_y, int pad_x, int start_y, int start_x,
    int64 x_n, int64 x_c, int64 x_y, int64 x_x,
    int64 out_n, int64 out_c, int64 out_y, int64 out_x,
    int64 signs_n, int64 signs_c, int64 signs_y, int64 signs_x,
    float gain, float slope, float clamp,
    int fu_h, int fu_w, int fd_h, int fd_w, int tile_h, int tile_w) {
    const int up_h = (tile_h - 1) * DOWN + fd_h, up_w = (tile_w - 1) * DOWN + fd_w;
    const int tile_in_h = (up_h + fu_h - 2) / UP + 1;
    const int tile_in_w = (up_w + fu_w - 2) / UP + 1;
    SHARED_MEMORY(memory);
    float* const up_filter = (float*)memory;
    float* const down_filter = up_filter + fu_h * fu_w;
    float* const tile = down_filter + fd_h * fd_w;
    float* const raised = tile + tile_in_h * tile_in_w;

    const int tiles_x = (out_w + tile_w - 1) / tile_w, tiles_y = (out_h + tile_h - 1) / tile_h;
    unsigned int block = blockIdx.x;
    const int out_x0 = (int)(block % tiles_x) * tile_w;
    block /= tiles_x;
    const int out_y0 = (int)(block % tiles_y) * tile_h;
    block /= tiles_y;
    const int c = (int)(block % channels);
    const int64 n = block / channels;
    const int raised_y0 = out_y0 * DOWN + start_y, raised_x0 = out_x0 * DOWN + start_x;
    // First input pixel that a tap can meet: ceil((raised0 - pad) / UP).
    const int phase_y = positive_modulo(pad_y - raised_y0, UP);
    const int phase_x = positive_modulo(pad_x - raised_x0, UP);
    const int in_y0 = (raised_y0 - pad_y + phase_y) / UP;
    const int in_x0 = (raised_x0 - pad_x + phase_x) / UP;

    for (int i = threadIdx.x; i < fu_h * fu_w; i += blockDim.x) {
        up_filter[i] = fu[fu_h * fu_w - 1 - i];
    }
    for (int i = threadIdx.x; i < fd_h * fd_w; i += blockDim.x) {
        down_filter[i] = fd[fd_h * fd_w - 1 - i];
    }
    for (int i = threadIdx.x; i < tile_in_h * tile_in_w; i += blockDim.x) {
        const int column = in_x0 + i % tile_in_w, row = in_y0 + i / tile_in_w;
        float value = 0.0f;
        if (row >= 0 && row < in_h && column >= 0 && column < in_w) {
            value = to_float(x[n * x_n + c * x_c + row * x_y + column * x_x]);
            if (bias) value += bias[c];
        }
        tile[i] = value;
    }
    __syncthreads();

    // Four raised rows of a column at a time, as their signs share a byte.
    const bool last_row = out_y0 + tile_h >= out_h, last_column = out_x0 + tile_w >= out_w;
    const int quad0 = raised_y0 >> 2, quads = (raised_y0 + up_h - 1 >> 2) - quad0 + 1;
    for (int q = threadIdx.x; q < quads * up_w; q += blockDim.x) {
        const int local_x = q % up_w, column = raised_x0 + local_x, quad = quad0 + q / up_w;
        const bool inside_x = column >= 0 && column < raised_w;
        const int64 place = n * signs_n + c * signs_c + quad * signs_y + column * signs_x;
        unsigned int packed = 0;
        if (SIGNS == SIGNS_READ && inside_x && quad >= 0 && quad * 4 < raised_h) {
            packed = signs[place];
        }
        for (int j = 0; j < 4; ++j) {
            const int row = quad * 4 + j, local_y = row - raised_y0;
            if (local_y < 0 || local_y >= up_h) continue;
            float value = 0.0f;
            if (inside_x && row >= 0 && row < raised_h) {
                // Taps k with (local + k - phase) a multiple of UP meet input pixels.
                const int k_y = positive_modulo(phase_y - local_y, UP);
                const int k_x = positive_modulo(phase_x - local_x, UP);
                for (int ky = k_y; ky < fu_h; ky += UP) {
                    const int in_row = (local_y + ky - phase_y) / UP;
                    for (int kx = k_x; kx < fu_w; kx += UP) {
                        const int in_column = (local_x + kx - phase_x) / UP;
                        value += up_filter[ky * fu_w + kx] * tile[in_row * tile_in_w + in_column];
                    }
                }
                unsigned int sign = packed >> j * 2;
                value = activate<SIGNS>(value * gain, slope, clamp, sign);
                if (SIGNS == SIGNS_WRITE) packed |= sign << j * 2;
            }
            raised[local_y * up_w + local_x] = value;
        }
        const bool mine = inside_x && quad >= 0 && quad * 4 < raised_h &&
                          column >= out_x0 * DOWN && quad * 4 >= out_y0 * DOWN &&
                          (last_column || column < (out_x0 + tile_w) * DOWN) &&
                          (last_row || quad * 4 < (out_y0 + tile_h) * DOWN);
        if (SIGNS == SIGNS_WRITE && mine) signs[place] = (unsigned char)packed;
    }
    __syncthreads();

    for (int i = threadIdx.x; i < tile_h * tile_w; i += blockDim.x) {
        const int local_x = i % tile_w, local_y = i / tile_w;
        if (out_y0 + local_y >= out_h || out_x0 + local_x >= out_w) continue;
        float sum = 0.0f;
        for (int ky = 0; ky < fd_h; ++ky) {
            for (int kx = 0; kx < fd_w; ++kx) {
                sum += down_filter[ky * fd_w + kx] *
                       raised[(local_y * DOWN + ky) * up_w + local_x * DOWN + kx];
            }
        }
        out[n * out_n + c * out_c + (out_y0 + local_y) * out_y + (out_x0 + local_x) * out_x] =
            from_float<T>(sum);
    }
}
