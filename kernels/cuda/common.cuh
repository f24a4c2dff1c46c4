// What every kernel of this folder begins with: number types of 16 bits, and small helpers.
//
// No header of the toolkit is included, so that NVRTC alone can compile these files. All sums run
// in float32, whatever the tensors hold. Grids have one axis: it may have 2^31 - 1 blocks, the
// others only 65,535. A build for the CPU (the tests') defines HOST_BUILD and brings its own
// versions of what stands under `#ifndef`.

typedef long long int64;

struct half_t {
    unsigned short bits;
};
struct bfloat_t {
    unsigned short bits;
};

#ifndef HOST_BUILD
#define SHARED_MEMORY(name) extern __shared__ __align__(16) unsigned char name[]

__device__ __forceinline__ float half_to_float(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

__device__ __forceinline__ unsigned short float_to_half(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
#endif

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(half_t value) { return half_to_float(value.bits); }
__device__ __forceinline__ float to_float(bfloat_t value) {
    return __uint_as_float((unsigned int)value.bits << 16);
}

template <typename T>
__device__ __forceinline__ T from_float(float value);
template <>
__device__ __forceinline__ float from_float<float>(float value) {
    return value;
}
template <>
__device__ __forceinline__ half_t from_float<half_t>(float value) {
    return half_t{float_to_half(value)};
}
template <>
__device__ __forceinline__ bfloat_t from_float<bfloat_t>(float value) {
    const unsigned int bits = __float_as_uint(value);
    if (value != value) return bfloat_t{(unsigned short)0x7fc0};
    return bfloat_t{(unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};  // to even
}

// V neighbours, loaded and stored 16 bytes at a time; their address must be a multiple of the size
// or of 16.
template <typename T, int V>
struct alignas(sizeof(T) * V < 16 ? sizeof(T) * V : 16) Pack {
    T values[V];
};

__device__ __forceinline__ int clamp_index(int i, int length) {
    return i < 0 ? 0 : (i < length ? i : length - 1);
}

// Index of this thread over the whole grid, and how many there are.
__device__ __forceinline__ int64 global_thread() {
    return (int64)blockIdx.x * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ int64 global_threads() { return (int64)gridDim.x * blockDim.x; }

// What filtered_lrelu does with the signs of raised pixels.
enum Signs { SIGNS_NONE = 0, SIGNS_WRITE = 1, SIGNS_READ = 2 };
