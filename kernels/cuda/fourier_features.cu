// Plane waves over a lattice, mixed into channels; no map a wave is ever stored.
//
// sin(a + b) = sin a cos b + cos a sin b: a wave at a pixel is two products of entries of two small
// tables, one a column and one a row. The mix is a matrix product whose left factor (pixel x wave)
// is made in shared memory, chunk by chunk, from the tables.

// Tables: sin and cos of 2 pi (coordinate * freq + phase), float32 [2][batch][waves][length].
// Angles are reduced to one turn in float64. One thread an entry.
__global__ void fourier_table(
    const double* __restrict__ coordinates, const double* __restrict__ freqs,
    const double* __restrict__ phases, float* __restrict__ table,
    int waves, int length, int64 count) {
    for (int64 i = global_thread(); i < count; i += global_threads()) {
        const int64 row = i / length;  // n * waves + f
        const int f = (int)(row % waves);
        const int64 n = row / waves;
        double turns = coordinates[n * length + i % length] * freqs[f];
        if (phases) turns += phases[f];
        const float half_turns = (float)(2.0 * (turns - rint(turns)));
        table[i] = sinpif(half_turns);
        table[count + i] = cospif(half_turns);
    }
}

constexpr int BLOCK = 64;  // pixels, channels or waves a side of a block's product
constexpr int CHUNK = 16;  // terms that one step of the product sums

// Wave f of batch item n at flat pixel p.
__device__ __forceinline__ float wave_at(
    const float* __restrict__ along_x, const float* __restrict__ along_y, int64 n, int f,
    int64 pixel, int waves, int width, int height, int64 cos_x, int64 cos_y) {
    const int64 at_x = (n * waves + f) * width + pixel % width;
    const int64 at_y = (n * waves + f) * height + pixel / width;
    return along_x[at_x] * along_y[cos_y + at_y] + along_x[cos_x + at_x] * along_y[at_y];
}

// out[n][pixel][c] = sqrt(2) * sum_f mix[c][f] * wave[n][f][pixel]. 256 threads: 64 pixels x 64
// channels a block, 4 x 4 of them a thread, so that 8 words read from shared memory serve 16 sums.
template <typename T>
__global__ void __launch_bounds__(256) fourier_mix(
    const float* __restrict__ along_x, const float* __restrict__ along_y,
    const float* __restrict__ mix, T* __restrict__ out,
    int batch, int waves, int width, int height, int channels) {
    SHARED_MEMORY(memory);
    float* const wave_chunk = (float*)memory;             // [CHUNK][BLOCK]
    float* const mix_chunk = wave_chunk + CHUNK * BLOCK;  // [CHUNK][BLOCK]
    const int64 pixels = (int64)width * height;
    const int64 cos_x = (int64)batch * waves * width, cos_y = (int64)batch * waves * height;
    const int c_blocks = (channels + BLOCK - 1) / BLOCK;
    const int64 p_blocks = (pixels + BLOCK - 1) / BLOCK;
    const int c0 = (int)(blockIdx.x % c_blocks) * BLOCK;
    const int64 p0 = blockIdx.x / c_blocks % p_blocks * BLOCK;
    const int64 n = blockIdx.x / c_blocks / p_blocks;
    const int my_c = threadIdx.x % 16 * 4, my_p = threadIdx.x / 16 * 4;
    float sums[4][4] = {};
    for (int f0 = 0; f0 < waves; f0 += CHUNK) {
        for (int i = threadIdx.x; i < CHUNK * BLOCK; i += blockDim.x) {
            const int64 pixel = p0 + i % BLOCK;
            const int f = f0 + i / BLOCK;
            wave_chunk[i] = pixel < pixels && f < waves
                                ? wave_at(along_x, along_y, n, f, pixel, waves, width, height,
                                          cos_x, cos_y)
                                : 0.0f;
            const int c = c0 + i / CHUNK, mf = f0 + i % CHUNK;
            mix_chunk[i % CHUNK * BLOCK + i / CHUNK] =
                c < channels && mf < waves ? mix[(int64)c * waves + mf] * 1.41421356237f : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < CHUNK; ++k) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    sums[i][j] +=
                        wave_chunk[k * BLOCK + my_p + i] * mix_chunk[k * BLOCK + my_c + j];
                }
            }
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; ++i) {
        const int64 pixel = p0 + my_p + i;
        for (int j = 0; j < 4; ++j) {
            if (pixel < pixels && c0 + my_c + j < channels) {
                out[(n * pixels + pixel) * channels + c0 + my_c + j] = from_float<T>(sums[i][j]);
            }
        }
    }
}

// partial[slice][c][f] = sqrt(2) * sum over the slice's pixels of grad[n][pixel][c] * wave.
// A slice is every `slices`-th chunk of pixels, so all sums run in a fixed order; the caller adds
// the slices up. 256 threads: 64 channels x 64 waves a block.
template <typename T>
__global__ void __launch_bounds__(256) fourier_mix_backward(
    const float* __restrict__ along_x, const float* __restrict__ along_y,
    const T* __restrict__ grad, float* __restrict__ partial,
    int batch, int waves, int width, int height, int channels, int slices) {
    SHARED_MEMORY(memory);
    float* const wave_chunk = (float*)memory;              // [CHUNK][BLOCK]
    float* const grad_chunk = wave_chunk + CHUNK * BLOCK;  // [CHUNK][BLOCK]
    const int64 pixels = (int64)width * height;
    const int64 cos_x = (int64)batch * waves * width, cos_y = (int64)batch * waves * height;
    const int c_blocks = (channels + BLOCK - 1) / BLOCK, f_blocks = (waves + BLOCK - 1) / BLOCK;
    const int c0 = (int)(blockIdx.x % c_blocks) * BLOCK;
    const int f0 = (int)(blockIdx.x / c_blocks % f_blocks) * BLOCK;
    const int slice = blockIdx.x / c_blocks / f_blocks;
    const int my_f = threadIdx.x % 16 * 4, my_c = threadIdx.x / 16 * 4;
    float sums[4][4] = {};
    for (int64 q0 = (int64)slice * CHUNK; q0 < batch * pixels; q0 += (int64)slices * CHUNK) {
        for (int i = threadIdx.x; i < CHUNK * BLOCK; i += blockDim.x) {
            const int64 q = q0 + i / BLOCK;  // n * pixels + pixel
            const int f = f0 + i % BLOCK, c = c0 + i % BLOCK;
            const bool inside = q < batch * pixels;
            wave_chunk[i] = inside && f < waves
                                ? wave_at(along_x, along_y, q / pixels, f, q % pixels, waves,
                                          width, height, cos_x, cos_y)
                                : 0.0f;
            grad_chunk[i] = inside && c < channels ? to_float(grad[q * channels + c]) : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < CHUNK; ++k) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    sums[i][j] +=
                        grad_chunk[k * BLOCK + my_c + i] * wave_chunk[k * BLOCK + my_f + j];
                }
            }
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 4; ++j) {
            const int c = c0 + my_c + i, f = f0 + my_f + j;
            if (c < channels && f < waves) {
                partial[((int64)slice * channels + c) * waves + f] = sums[i][j] * 1.41421356237f;
            }
        }
    }
}
