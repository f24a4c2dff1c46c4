// filtered_lrelu on tensor cores: twice the rate, 16-bit numbers, channels_last, short filters.
//
// The same op as filtered_lrelu.cu (see there for `pad`, `start` and the signs) for UP = DOWN = 2
// and separable filters of up to 15 taps. Each step is a product with a banded matrix that is the
// same wherever a product lies, so that a lane's part of it stays in registers:
//   raise  U[r][i] = 2 fu[2 i - r - early]         16 raised pixels of 16 input pixels
//   lower  L[o][r] = f fd[r - 2 o - shift]         16 (8) output pixels of 48 (32) raised pixels
// with fu and fd flipped. The tile's first raised pixel lies on a multiple of four, as the bytes of
// the signs do: `shift` < 4 pixels before the first that output 0 reads, and `early` < 2 before the
// place of an input pixel.
//
// A block makes 32 x 32 output pixels of 16 channels, the least that memory hands out (32 bytes); a
// warp two of these channels, one after the other. Steps:
//   1. input tile to shared memory, [45][48] a channel: zero outside the image, bias added
//   2. for each 16 of the 80 raised columns, in registers:
//        D1[raised x][input y]  = U D0'     D0[input y][input x] in shared memory
//        D2[raised x][raised y] = D1 U'     then the activation
//        D3[output y][raised x] = L D2'
//        D4[output y][output x] = D3 L'
//      What a lane has of a product, rounded to 16 bits, is what it needs of a factor of the next,
//      if that sums over the columns. D4, and the signs, go where the input has been read already.
//   3. output and signs to global memory, 8 channels of a pixel at once
// Each 16 raised rows are dealt out to the rows of D1 and D2 so that a lane gets four that share a
// byte of signs: row 4 t + 2 h + b is column 8 h + 2 t + b of a product, b < 2, t < 4, h < 2.
//
// The gain is in the matrices: it commutes with the leaky ReLU, and with the clamp if that is
// divided by it. D1 to D3 and the taps are rounded to 16 bits, sums are float32 (float16 where one
// instruction makes the sum). A tap of zero does not stop an infinity or a NaN: it may reach as far
// as the products do.

#if defined(HOST_BUILD) || !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define HAS_TENSOR_CORES
#endif

typedef unsigned int uint32;  // mostly two numbers of 16 bits, the lower half first

#ifndef HOST_BUILD
#define MMA(name, types)                                                                        \
    __device__ __forceinline__ void name(                                                       \
        float (&d)[4], const uint32 (&a)[4], uint32 b0, uint32 b1) {                            \
        asm("mma.sync.aligned.m16n8k16.row.col.f32." types ".f32 {%0, %1, %2, %3}, "            \
            "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                                     \
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                    \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));                    \
    }
MMA(mma_f16, "f16.f16")
MMA(mma_bf16, "bf16.bf16")

__device__ __forceinline__ void mma_f16_rounded(
    uint32* d, const uint32 (&a)[4], uint32 b0, uint32 b1, uint32 c) {
    asm("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0, %1}, "
        "{%2, %3, %4, %5}, {%6, %7}, {%8, %8};"
        : "=r"(d[0]), "=r"(d[1])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "r"(c));
}

// Four matrices of 8 x 8 numbers; lane 8 m + r has the address of row r of matrix m.
__device__ __forceinline__ void load_matrices(uint32* d, const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"((uint32)__cvta_generic_to_shared(row))
                 : "memory");
}

#define PACKED_OP(name, instruction)                                           \
    __device__ __forceinline__ uint32 name(uint32 a, uint32 b) {               \
        uint32 d;                                                              \
        asm(instruction : "=r"(d) : "r"(a), "r"(b));                           \
        return d;                                                              \
    }
PACKED_OP(add_f16x2, "add.rn.f16x2 %0, %1, %2;")
PACKED_OP(mul_f16x2, "mul.rn.f16x2 %0, %1, %2;")
PACKED_OP(min_f16x2, "min.NaN.f16x2 %0, %1, %2;")
PACKED_OP(max_f16x2, "max.NaN.f16x2 %0, %1, %2;")
// Capability 8.0 knows bfloat16's product and sum as parts of a fused one only.
PACKED_OP(add_bf16x2, "{.reg .b32 one; mov.b32 one, 0x3f803f80; fma.rn.bf16x2 %0, %1, one, %2;}")
PACKED_OP(mul_bf16x2, "{.reg .b32 no; mov.b32 no, 0x80008000; fma.rn.bf16x2 %0, %1, %2, no;}")
PACKED_OP(min_bf16x2, "min.NaN.bf16x2 %0, %1, %2;")
PACKED_OP(max_bf16x2, "max.NaN.bf16x2 %0, %1, %2;")

__device__ __forceinline__ uint32 pack_f16x2(float low, float high) {
    uint32 d;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
    return d;
}
__device__ __forceinline__ uint32 pack_bf16x2(float low, float high) {
    uint32 d;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
    return d;
}

// Four of the eight bytes of a and b; with bit 3 of its digit set, the top bit of one, repeated.
__device__ __forceinline__ uint32 permute_bytes(uint32 a, uint32 b, uint32 digits) {
    uint32 d;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(digits));
    return d;
}
#endif

// Arithmetic on two numbers in a word, by their type.
template <typename T>
struct Two;
template <>
struct Two<half_t> {
    static constexpr uint32 BELOW_ZERO = 0x80018001;  // by as little as can be
    static constexpr uint32 INFINITE = 0x7c007c00;
    static __device__ __forceinline__ uint32 pack(float a, float b) { return pack_f16x2(a, b); }
    static __device__ __forceinline__ uint32 add(uint32 a, uint32 b) { return add_f16x2(a, b); }
    static __device__ __forceinline__ uint32 mul(uint32 a, uint32 b) { return mul_f16x2(a, b); }
    static __device__ __forceinline__ uint32 min(uint32 a, uint32 b) { return min_f16x2(a, b); }
    static __device__ __forceinline__ uint32 max(uint32 a, uint32 b) { return max_f16x2(a, b); }
    static __device__ __forceinline__ void mma(
        float (&d)[4], const uint32 (&a)[4], uint32 b0, uint32 b1) {
        mma_f16(d, a, b0, b1);
    }
    // A b + c rounded; all of c alike.
    static __device__ __forceinline__ void mma_rounded(
        uint32* d, const uint32 (&a)[4], uint32 b0, uint32 b1, uint32 c) {
        mma_f16_rounded(d, a, b0, b1, c);
    }
};
template <>
struct Two<bfloat_t> {
    static constexpr uint32 BELOW_ZERO = 0x80808080;  // what is not flushed to it
    static constexpr uint32 INFINITE = 0x7f807f80;
    static __device__ __forceinline__ uint32 pack(float a, float b) { return pack_bf16x2(a, b); }
    static __device__ __forceinline__ uint32 add(uint32 a, uint32 b) { return add_bf16x2(a, b); }
    static __device__ __forceinline__ uint32 mul(uint32 a, uint32 b) { return mul_bf16x2(a, b); }
    static __device__ __forceinline__ uint32 min(uint32 a, uint32 b) { return min_bf16x2(a, b); }
    static __device__ __forceinline__ uint32 max(uint32 a, uint32 b) { return max_bf16x2(a, b); }
    static __device__ __forceinline__ void mma(
        float (&d)[4], const uint32 (&a)[4], uint32 b0, uint32 b1) {
        mma_bf16(d, a, b0, b1);
    }
    static __device__ __forceinline__ void mma_rounded(
        uint32* d, const uint32 (&a)[4], uint32 b0, uint32 b1, uint32 c) {
        const float start = __uint_as_float(c & 0xffff0000u);
        float sum[4] = {start, start, start, start};
        mma_bf16(sum, a, b0, b1);
        d[0] = pack_bf16x2(sum[0], sum[1]);
        d[1] = pack_bf16x2(sum[2], sum[3]);
    }
};

// Word i of four with byte j of it becomes word j with byte i.
__device__ __forceinline__ void transpose_bytes(uint32 (&words)[4]) {
    const uint32 a = permute_bytes(words[0], words[1], 0x5140);
    const uint32 b = permute_bytes(words[2], words[3], 0x5140);
    const uint32 c = permute_bytes(words[0], words[1], 0x7362);
    const uint32 d = permute_bytes(words[2], words[3], 0x7362);
    words[0] = permute_bytes(a, b, 0x5410), words[1] = permute_bytes(a, b, 0x7632);
    words[2] = permute_bytes(c, d, 0x5410), words[3] = permute_bytes(c, d, 0x7632);
}

// Where byte `place` of a row of 96 bytes lies: 16 bytes change places with the next in every other
// four rows, so that 16 bytes of eight rows lie in different banks.
__device__ __forceinline__ int swizzled(int row, int place) {
    return row * 96 + (place ^ (row >> 2 & 1) << 4);
}

template <typename T, int SIGNS>
__global__ void __launch_bounds__(256, 2) filtered_lrelu_mma(
    const T* __restrict__ x, const float* __restrict__ fu, const float* __restrict__ fd,
    const float* __restrict__ bias, unsigned char* signs, T* __restrict__ out,
    int channels, int in_h, int in_w, int raised_h, int raised_w, int out_h, int out_w,
    int pad_y, int pad_x, int start_y, int start_x,
    int64 x_n, int64 x_c, int64 x_y, int64 x_x,
    int64 out_n, int64 out_c, int64 out_y, int64 out_x,
    int64 signs_n, int64 signs_c, int64 signs_y, int64 signs_x,
    float gain, float slope, float clamp, int fu_taps, int fd_taps) {
#ifdef HAS_TENSOR_CORES
    // Pixels a side; kernels/_filter.py has the bytes of shared memory that follow.
    constexpr int TILE = 32, RAISED = 80, IN = 48, QUADS = RAISED / 4;
    constexpr int IN_ROWS = 45;      // rows of the input that outputs read, at the most
    constexpr int LOADERS = 5 * IN;  // threads that load it
    constexpr int UP_TAPS = 48, UP_ZERO = 16, DOWN_TAPS = 80, DOWN_ZERO = 33;  // zeros around
    constexpr int PITCH = IN * 2, SIGNS_PLANE = RAISED * QUADS;                // bytes
    constexpr int OUT_ROW = SIGNS == SIGNS_WRITE ? QUADS : 0;  // below the signs
    // The halves of 8 channels, whose planes take turns, are stored at the same time: to 16 banks
    // each, as this is 64 more than a multiple of 128 bytes.
    constexpr int PLANE =
        SIGNS == SIGNS_WRITE ? (QUADS + TILE) * PITCH + 64 : (IN_ROWS + 1) * PITCH;
    static_assert(PITCH == 96 && PLANE % 128 == 64 && SIGNS_PLANE % 128 == 64, "for the banks");
    SHARED_MEMORY(memory);
    uint32* const up_taps = (uint32*)memory + UP_ZERO;  // two neighbours of one row of U
    uint32* const down_taps = (uint32*)memory + UP_TAPS + DOWN_ZERO;
    unsigned char* const planes = memory + (UP_TAPS + DOWN_TAPS) * 4;  // [8][2 halves], of 8 each
    unsigned char* const sign_planes = planes + 16 * PLANE;

    const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
    const int groups = (channels + 15) / 16;
    const int tiles_x = (out_w + TILE - 1) / TILE, tiles_y = (out_h + TILE - 1) / TILE;
    unsigned int block = blockIdx.x;
    const int c0 = (int)(block % groups) * 16;
    block /= groups;
    const int out_x0 = (int)(block % tiles_x) * TILE;
    block /= tiles_x;
    const int out_y0 = (int)(block % tiles_y) * TILE;
    const int64 n = block / tiles_y;

    const int shift_y = start_y & 3, shift_x = start_x & 3;
    const int raised_y0 = out_y0 * 2 + start_y - shift_y;
    const int raised_x0 = out_x0 * 2 + start_x - shift_x;
    const int early_y = (raised_y0 - pad_y) & 1, early_x = (raised_x0 - pad_x) & 1;
    const int in_y0 = (raised_y0 - pad_y) >> 1, in_x0 = (raised_x0 - pad_x) >> 1;
    // The last raised pixels that outputs read, and how many input pixels these read.
    const int last_y = 2 * min(TILE, out_h - out_y0) - 2 + shift_y + fd_taps - 1;
    const int last_x = 2 * min(TILE, out_w - out_x0) - 2 + shift_x + fd_taps - 1;
    const int reads_y = (last_y + early_y + fu_taps - 1) / 2 + 1;
    const int reads_x = (last_x + early_x + fu_taps - 1) / 2 + 1;
    // Whether any of them lies outside the raised map, where there are zeros.
    const bool outside = raised_y0 + shift_y < 0 || raised_y0 + last_y >= raised_h ||
                         raised_x0 + shift_x < 0 || raised_x0 + last_x >= raised_w;

    // 1. A thread loads two neighbouring pixels of 8 channels, five rows further each time.
    const int half = thread % 2;
    const bool loads = c0 + half * 8 < channels;
    if (thread < UP_TAPS) {
        const int tap = thread - UP_ZERO;
        up_taps[tap] = Two<T>::pack(
            tap >= 0 && tap < fu_taps ? 2.0f * fu[fu_taps - 1 - tap] : 0.0f,
            tap >= -2 && tap < fu_taps - 2 ? 2.0f * fu[fu_taps - 3 - tap] : 0.0f);
    } else if (thread < UP_TAPS + DOWN_TAPS) {
        const int tap = thread - UP_TAPS - DOWN_ZERO;
        const float factor = sqrtf(gain * 0.25f);  // twice; two times two are in U
        down_taps[tap] = Two<T>::pack(
            tap >= 0 && tap < fd_taps ? factor * fd[fd_taps - 1 - tap] : 0.0f,
            tap >= -1 && tap < fd_taps - 1 ? factor * fd[fd_taps - 2 - tap] : 0.0f);
    }
    if (thread < LOADERS) {
        const int local_y = thread / IN, local_x = thread % IN / 2 * 2;
        const int column = in_x0 + local_x;
        const int rows_begin = max(0, -in_y0), rows_end = min(reads_y, in_h - in_y0);
        int rows[2];  // inside the image, in either column
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const bool inside = local_x + j < reads_x && column + j >= 0 && column + j < in_w;
            rows[j] = loads && inside ? max(0, rows_end - rows_begin) : 0;
        }
        const T* source =
            x + n * x_n + c0 + half * 8 + (in_y0 + local_y) * x_y + column * x_x;
        unsigned char* const target = planes + half * PLANE;
        const int64 stride = LOADERS / IN * x_y;
        uint32 offset[4] = {};
        if (bias && loads) {
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                const float* const two = bias + c0 + half * 8 + k * 2;
                offset[k] = Two<T>::pack(two[0], two[1]);
            }
        }
        constexpr int STEPS = IN_ROWS * IN / LOADERS, BATCH = 3;
#pragma unroll
        for (int batch = 0; batch < STEPS; batch += BATCH) {
            Pack<uint32, 4> pixels[BATCH][2] = {};
#pragma unroll
            for (int step = 0; step < BATCH; ++step, source += stride) {
                const unsigned int row = local_y + (batch + step) * (LOADERS / IN) - rows_begin;
                if (row < rows[0]) pixels[step][0] = *(const Pack<uint32, 4>*)source;
                if (row < rows[1]) pixels[step][1] = *(const Pack<uint32, 4>*)(source + x_x);
            }
            if (bias) {
#pragma unroll
                for (int i = 0; i < BATCH * 8; ++i) {
                    const int step = i / 8, j = i / 4 % 2, k = i % 4;
                    const unsigned int row =
                        local_y + (batch + step) * (LOADERS / IN) - rows_begin;
                    uint32& two = pixels[step][j].values[k];
                    if (row < rows[j]) two = Two<T>::add(two, offset[k]);
                }
            }
#pragma unroll
            for (int i = 0; i < BATCH * 4; ++i) {
                const int step = i / 4, k = i % 4;
                const uint32 a = pixels[step][0].values[k], b = pixels[step][1].values[k];
                const int row = local_y + (batch + step) * (LOADERS / IN);
                unsigned char* const place = target + swizzled(row, local_x * 2);
                *(uint32*)(place + 4 * k * PLANE) = permute_bytes(a, b, 0x5410);
                *(uint32*)(place + (4 * k + 2) * PLANE) = permute_bytes(a, b, 0x7632);
            }
        }
    }
    // Signs: a word of quads t, 4 + t, 8 + t, 12 + t for each [raised x][t]; then two bytes of quad
    // 16 + t for each [raised x / 16][raised x % 8][t], of two raised x that are 8 apart.
    if (SIGNS == SIGNS_READ && loads) {
        const int t = thread / 2 % 4, quad0 = (raised_y0 >> 2) + t;
        const unsigned char* const source =
            signs + n * signs_n + c0 + half * 8 + quad0 * signs_y + raised_x0 * signs_x;
        unsigned char* const target = sign_planes + half * SIGNS_PLANE;
        for (int local_x = thread / 8; local_x < RAISED; local_x += 32) {
            const int column = raised_x0 + local_x;
            Pack<uint32, 2> quads[5];
#pragma unroll
            for (int q = 0; q < 5; ++q) {
                const int row = (quad0 + q * 4) * 4;
                quads[q] = {{0xaaaaaaaau, 0xaaaaaaaau}};  // a clamped pixel counts as zero
                if (row >= 0 && row < raised_h && column >= 0 && column < raised_w) {
                    quads[q] = *(const Pack<uint32, 2>*)(
                        source + q * 4 * signs_y + local_x * signs_x);
                }
            }
            if (outside) {  // in the midst of a byte, too
#pragma unroll
                for (int q = 0; q < 5; ++q) {
                    const int rows = clamp_index(raised_h - (quad0 + q * 4) * 4, 5);
                    const uint32 beyond = (0xaau << rows * 2 & 0xffu) * 0x01010101u;
                    quads[q].values[0] |= beyond;
                    quads[q].values[1] |= beyond;
                }
            }
#pragma unroll
            for (int k = 0; k < 2; ++k) {
                uint32 words[4];
#pragma unroll
                for (int q = 0; q < 4; ++q) words[q] = quads[q].values[k];
                transpose_bytes(words);
#pragma unroll
                for (int c = 0; c < 4; ++c) {
                    unsigned char* const plane = target + (k * 4 + c) * 2 * SIGNS_PLANE;
                    ((uint32*)plane)[local_x * 4 + t] = words[c];
                    plane[RAISED * 16 + local_x / 16 * 64 + (local_x % 8 * 4 + t) * 2 +
                          local_x / 8 % 2] = (unsigned char)(quads[4].values[k] >> c * 8);
                }
            }
        }
    }
    __syncthreads();

    // 2. The chain. A lane holds rows g and g + 8, or column g, of a fragment, and in the other
    // axis 2 t, 2 t + 1 and 8 more.
    const int g = lane / 4, t = lane % 4;
    uint32 up_x[4], up_y[2][2][2], down_y[3][4], down_x[2][2];
    {
        // Read anew each time, so that what a product takes lies side by side: numbers that several
        // share would be moved together before each.
        const volatile uint32* taps = up_taps + 4 * t - g - early_x;
        up_x[0] = taps[0], up_x[1] = taps[-8], up_x[2] = taps[16], up_x[3] = taps[8];
        taps = up_taps + 4 * t - (g / 2 * 4 + g % 2) - early_y;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            up_y[0][h][0] = taps[-2 * h], up_y[0][h][1] = taps[16 - 2 * h];
            up_y[1][h][0] = taps[16 - 2 * h], up_y[1][h][1] = taps[-2 * h];
        }
        taps = down_taps + 4 * t - 2 * g - shift_y;
#pragma unroll
        for (int s = 0; s < 3; ++s) {
            down_y[s][0] = taps[s * 16], down_y[s][1] = taps[s * 16 - 16];
            down_y[s][2] = taps[s * 16 + 2], down_y[s][3] = taps[s * 16 - 14];
        }
        taps = down_taps + 2 * t - 2 * g - shift_x;
#pragma unroll
        for (int s = 0; s < 2; ++s) down_x[s][0] = taps[s * 16], down_x[s][1] = taps[s * 16 + 8];
    }
    const uint32 slopes = Two<T>::pack(slope, slope);
    const float largest = clamp / (gain * 0.25f);
    const uint32 most = Two<T>::pack(largest, largest);
    const bool clamps = most != Two<T>::INFINITE;
    // A sum of exactly zero counts as below zero, as torch has it.
    const uint32 nothing = SIGNS == SIGNS_READ || slope == 1.0f ? 0 : Two<T>::BELOW_ZERO;
    // Where a lane's row of four blocks of 8 x 8 input pixels lies, from even and odd columns of
    // them on. Rows that no output reads meet taps of zero only: any will do.
    const int row = lane / 16 * 8 + lane % 8, last_row = min(row + 32, IN_ROWS - 1);
    const int place = lane / 8 % 2 * 16;
    const int blocks_at[2] = {swizzled(row, place), swizzled(row, place + 16) - 16};
    const int last_blocks_at[2] = {swizzled(last_row, place), swizzled(last_row, place + 16) - 16};

#pragma unroll 1
    for (int second = 0; second < 2; ++second) {
        if (c0 + second * 8 >= channels) break;
        unsigned char* const plane = planes + (warp * 2 + second) * PLANE;
        const unsigned char* const my_signs = sign_planes + (warp * 2 + second) * SIGNS_PLANE;
        unsigned char* const sign_place = plane + t * PITCH + g;
        unsigned char* const out_place[2] = {
            plane + swizzled(OUT_ROW + g, t * 4), plane + swizzled(OUT_ROW + g, 16 + t * 4) - 16};
        float d4[2][2][4];  // two times 8 columns, two times 16 rows
#pragma unroll
        for (int i = 0; i < 5; ++i) {
            uint32 d0[6][2];
            load_matrices(d0[0], plane + blocks_at[i % 2] + i * 16);
            load_matrices(d0[2], plane + blocks_at[i % 2] + 16 * PITCH + i * 16);
            load_matrices(d0[4], plane + last_blocks_at[i % 2] + i * 16);
            uint32 d1[4];      // 8 rows of the input at even, 8 at odd multiples of 8
            uint32 d2[10][2];  // 8 raised rows each, of raised columns 16 i + g and 8 more
            Two<T>::mma_rounded(d1, up_x, d0[0][0], d0[0][1], 0);
#pragma unroll
            for (int q = 0; q < 5; ++q) {
                const int even = q % 2;  // the 8 rows at an even multiple are the later ones
                Two<T>::mma_rounded(d1 + 2 - 2 * even, up_x, d0[q + 1][0], d0[q + 1][1], 0);
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    Two<T>::mma_rounded(
                        d2[2 * q + h], d1, up_y[even][h][0], up_y[even][h][1], nothing);
                }
            }
#pragma unroll
            for (int h = 0; h < 2 && SIGNS == SIGNS_READ; ++h) {
                // Bits 2 k, 2 k + 1 of each byte: row k of a quad.
                const uint32 most_quads = ((const uint32*)my_signs)[i * 64 + h * 32 + lane];
                const uint32 last_quads =
                    ((const unsigned short*)(my_signs + RAISED * 16))[i * 32 + lane];
#pragma unroll
                for (int j = 0; j < 10; ++j) {
                    const uint32 word = j < 8 ? most_quads : last_quads;
                    const int byte = j < 8 ? j / 2 : h, low = j % 2 * 4, high = low + 2;
                    const uint32 digits = (byte | 8) * 0x0011u | (byte | 12) * 0x1100u;
                    const uint32 scaled = Two<T>::mul(d2[j][h], slopes);
                    const uint32 below =
                        permute_bytes(word << (7 - low), word << (7 - high), digits);
                    d2[j][h] = (below & scaled) | (~below & d2[j][h]);
                    if (clamps || outside) {
                        d2[j][h] &= ~permute_bytes(word << (6 - low), word << (6 - high), digits);
                    }
                }
            }
#pragma unroll
            for (int h = 0; h < 2 && SIGNS != SIGNS_READ; ++h) {
                int bytes[5] = {};  // of quads 4 q + t
#pragma unroll
                for (int q = 0; q < 5 && SIGNS == SIGNS_WRITE; ++q) {
                    const uint32 below = permute_bytes(d2[2 * q][h], d2[2 * q + 1][h], 0xfdb9);
                    bytes[q] = __dp4a((int)below, (int)0xc0f0fcff, 0);  // times -1, -4, -16, -64
                }
#pragma unroll
                for (int j = 0; j < 10; ++j) {
                    d2[j][h] = Two<T>::max(d2[j][h], Two<T>::mul(d2[j][h], slopes));
                }
                if (clamps) {
#pragma unroll
                    for (int q = 0; q < 5; ++q) {
                        uint32 beyond[2];
#pragma unroll
                        for (int k = 0; k < 2; ++k) {
                            uint32& two = d2[2 * q + k][h];
                            beyond[k] = ~((most | 0x80008000u) - (two & 0x7fff7fffu));
                            two = Two<T>::max(Two<T>::min(two, most), most | 0x80008000u);
                        }
                        if (SIGNS == SIGNS_WRITE) {
                            const int all = (int)permute_bytes(beyond[0], beyond[1], 0xfdb9);
                            bytes[q] &= ~__dp4a(all, (int)0xc0f0fcff, 0);
                            bytes[q] = __dp4a(all, (int)0x80e0f8fe, bytes[q]);
                        }
                    }
                }
#pragma unroll
                for (int q = 0; q < 5 && SIGNS == SIGNS_WRITE; ++q) {
                    sign_place[swizzled(q * 4, i * 16 + h * 8)] = (unsigned char)bytes[q];
                }
            }

#pragma unroll
            for (int u = 0; u < 2; ++u) {
                uint32 d3[4];
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    float sum[4] = {};
#pragma unroll
                    for (int s = 0; s < 3; ++s) {
                        const int j = 4 * u + 2 * s;
                        Two<T>::mma(sum, down_y[s], d2[j][h], d2[j + 1][h]);
                    }
                    d3[2 * h] = Two<T>::pack(sum[0], sum[1]);
                    d3[2 * h + 1] = Two<T>::pack(sum[2], sum[3]);
                }
                float(&begun)[4] = d4[i % 2][u];
                float(&done)[4] = d4[(i + 1) % 2][u];
                if (i < 4) {
#pragma unroll
                    for (int k = 0; k < 4; ++k) begun[k] = 0.0f;
                    Two<T>::mma(begun, d3, down_x[0][0], down_x[0][1]);
                }
                if (i > 0) {
                    Two<T>::mma(done, d3, down_x[1][0], down_x[1][1]);
                    unsigned char* const target =
                        out_place[(i - 1) % 2] + u * 16 * PITCH + (i - 1) * 16;
                    *(uint32*)target = Two<T>::pack(done[0], done[1]);
                    *(uint32*)(target + 8 * PITCH) = Two<T>::pack(done[2], done[3]);
                }
            }
        }
    }
    __syncthreads();
    if (!loads) return;

    // 3. Two neighbouring pixels of 8 channels a thread.
    T* const destination = out + n * out_n + c0 + half * 8;
    const unsigned char* const results = planes + half * PLANE;
#pragma unroll
    for (int step = 0; step < 4; ++step) {
        const int local_y = step * 8 + warp, local_x = lane / 2 * 2;
        const unsigned char* const place = results + swizzled(OUT_ROW + local_y, local_x * 2);
        Pack<uint32, 4> pixels[2];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            const uint32 a = *(const uint32*)(place + 4 * k * PLANE);
            const uint32 b = *(const uint32*)(place + (4 * k + 2) * PLANE);
            pixels[0].values[k] = permute_bytes(a, b, 0x5410);
            pixels[1].values[k] = permute_bytes(a, b, 0x7632);
        }
        const int row = out_y0 + local_y, column = out_x0 + local_x;
        if (row >= out_h) continue;
        T* const pixel = destination + row * out_y + column * out_x;
        if (column < out_w) *(Pack<uint32, 4>*)pixel = pixels[0];
        if (column + 1 < out_w) *(Pack<uint32, 4>*)(pixel + out_x) = pixels[1];
    }
    if (SIGNS != SIGNS_WRITE) return;

    // Each tile writes the signs of the raised pixels that it shares with no tile after it. A
    // thread takes four neighbouring columns.
    const int rows = min(out_y0 + TILE >= out_h ? RAISED : TILE * 2, raised_h - raised_y0);
    const int columns = min(out_x0 + TILE >= out_w ? RAISED : TILE * 2, raised_w - raised_x0);
    for (int quad = warp; quad * 4 < rows; quad += 8) {
        for (int local_x = lane / 2 * 4; local_x < columns; local_x += 64) {
            const unsigned char* const place = results + swizzled(quad, local_x);
            Pack<uint32, 2> pixels[4];
#pragma unroll
            for (int k = 0; k < 2; ++k) {
                uint32 words[4];  // a channel each, a column a byte
#pragma unroll
                for (int c = 0; c < 4; ++c) {
                    words[c] = *(const uint32*)(place + (k * 4 + c) * 2 * PLANE);
                }
                transpose_bytes(words);
#pragma unroll
                for (int j = 0; j < 4; ++j) pixels[j].values[k] = words[j];
            }
            unsigned char* const pixel = signs + n * signs_n + c0 + half * 8 +
                                         (raised_y0 / 4 + quad) * signs_y +
                                         (raised_x0 + local_x) * signs_x;
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                if (local_x + j < columns) *(Pack<uint32, 2>*)(pixel + j * signs_x) = pixels[j];
            }
        }
    }
#endif
}
