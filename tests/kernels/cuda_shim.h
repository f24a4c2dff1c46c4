// Runs the sources of kernels/cuda on the CPU: what a block's threads see, and nothing of a GPU.
//
// Blocks run one after the other. The threads of a block are fibers: each runs until a barrier or
// its end, then the next one does, in an order that the caller picks (first to last, last to first,
// shuffled, a new shuffle after every barrier). What a missing barrier would leave to chance comes
// out different from order to order. Shared memory starts as NaNs, so that a read before a write
// shows, and ends in guard bytes, so that a write past it does. A thread that ends while others
// wait at a barrier is an error. What a warp does together (matrix products, say) begins with a
// barrier of its own; it then goes on to the block's next barrier before another warp does.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#define HOST_BUILD
#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define __syncthreads() shim::barrier()
#define __syncwarp() shim::warp_barrier()
#define SHARED_MEMORY(name) unsigned char* const name = shim::shared.data()

struct Index {
    unsigned int x;
};
static Index threadIdx, blockIdx, blockDim, gridDim;

using std::fmax;
using std::fmin;
using std::max;
using std::min;

inline float __uint_as_float(unsigned int bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
inline unsigned int __float_as_uint(float value) {
    unsigned int bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}
inline float half_to_float(unsigned short bits) {
    _Float16 value;
    std::memcpy(&value, &bits, 2);
    return (float)value;
}
inline unsigned short float_to_half(float value) {
    const _Float16 rounded = (_Float16)value;
    unsigned short bits;
    std::memcpy(&bits, &rounded, 2);
    return bits;
}
inline float __fmul_rn(float a, float b) { return a * b; }  // compiled with -ffp-contract=off
inline float __fadd_rn(float a, float b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline float sinpif(float x) { return (float)std::sin(3.14159265358979323846 * x); }
inline double sinpi(double x) { return std::sin(3.14159265358979323846 * x); }
inline float cospif(float x) { return (float)std::cos(3.14159265358979323846 * x); }
inline float atomicAdd(float* address, float value) {
    const float before = *address;
    *address = before + value;
    return before;
}

namespace shim {

enum Failure { NONE = 0, DIVERGED = 1, PAST_SHARED = 2 };

constexpr std::size_t STACK_BYTES = 128 << 10;
constexpr std::size_t GUARD_BYTES = 256;
constexpr unsigned char GUARD = 0xA5;

inline std::vector<unsigned char> shared;

enum State { READY, AT_BARRIER, AT_WARP_BARRIER, DONE };
constexpr unsigned int WARP = 32;

struct Fiber {
    ucontext_t context;
    std::unique_ptr<unsigned char[]> stack;
    State state;
};
inline std::vector<Fiber> fibers;
inline ucontext_t scheduler;
inline unsigned int running;
inline void (*body)(void**);
inline void** arguments;

inline void leave(State state) {
    fibers[running].state = state;
    swapcontext(&fibers[running].context, &scheduler);
}
inline void barrier() { leave(AT_BARRIER); }
inline void warp_barrier() { leave(AT_WARP_BARRIER); }

inline void enter() {
    body(arguments);
    leave(DONE);
}

inline void resume(unsigned int thread) {
    running = thread;
    threadIdx.x = thread;
    swapcontext(&scheduler, &fibers[thread].context);
}

// Runs a warp that has threads waiting for the others up to the block's barrier.
inline bool run_warp(const std::vector<unsigned int>& turns, unsigned int warp) {
    std::vector<unsigned int> lanes;
    for (unsigned int t : turns) {
        if (t / WARP == warp) lanes.push_back(t);
    }
    const auto count = [&lanes](State state) {
        return std::count_if(lanes.begin(), lanes.end(), [state](unsigned int t) {
            return fibers[t].state == state;
        });
    };
    for (unsigned int t : lanes) {
        if (fibers[t].state == READY) resume(t);
    }
    while (count(AT_WARP_BARRIER) == (long)lanes.size()) {
        for (unsigned int t : lanes) resume(t);
    }
    return count(AT_WARP_BARRIER) == 0;
}

// Runs one block; threads go in the order 0: rising, 1: falling, else shuffled by that seed.
inline Failure run_block(unsigned int threads, unsigned int order, std::size_t shared_bytes) {
    shared.assign(shared_bytes + GUARD_BYTES, 0xFF);
    std::fill(shared.begin() + shared_bytes, shared.end(), GUARD);
    while (fibers.size() < threads) {
        fibers.push_back({{}, std::make_unique<unsigned char[]>(STACK_BYTES), READY});
    }
    for (unsigned int t = 0; t < threads; ++t) {
        Fiber& fiber = fibers[t];
        fiber.state = READY;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = STACK_BYTES;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, enter, 0);
    }
    std::vector<unsigned int> turns(threads);
    for (unsigned int t = 0; t < threads; ++t) turns[t] = order == 1 ? threads - 1 - t : t;
    unsigned int random = order;
    for (;;) {
        for (unsigned int t = threads - 1; order > 1 && t > 0; --t) {
            random = random * 1664525u + 1013904223u;
            std::swap(turns[t], turns[(random >> 8) % (t + 1)]);
        }
        for (unsigned int t : turns) {
            if (fibers[t].state == READY) resume(t);
            if (fibers[t].state == AT_WARP_BARRIER && !run_warp(turns, t / WARP)) return DIVERGED;
        }
        unsigned int at_barrier = 0;
        for (unsigned int t : turns) at_barrier += fibers[t].state == AT_BARRIER;
        if (at_barrier == 0) break;
        if (at_barrier != threads) return DIVERGED;
        for (unsigned int t : turns) fibers[t].state = READY;
    }
    for (std::size_t i = shared_bytes; i < shared.size(); ++i) {
        if (shared[i] != GUARD) return PAST_SHARED;
    }
    return NONE;
}

template <auto KERNEL, typename... P, std::size_t... I>
void call(void (*)(P...), void** arguments, std::index_sequence<I...>) {
    KERNEL(*static_cast<std::remove_const_t<P>*>(arguments[I])...);
}

template <auto KERNEL, typename... P>
void call(void (*kernel)(P...), void** arguments) {
    call<KERNEL>(kernel, arguments, std::index_sequence_for<P...>());
}

template <typename... P>
int count(void (*)(P...)) {
    return sizeof...(P);
}

// Bytes of every parameter, so that the caller's numbers can be checked against the signature.
template <typename... P>
void sizes(void (*)(P...), int* out) {
    int i = 0;
    ((out[i++] = sizeof(P)), ...);
}

template <auto KERNEL>
int run(void** args, unsigned int blocks, unsigned int threads, std::size_t shared_bytes,
        unsigned int order) {
    body = [](void** a) { call<KERNEL>(KERNEL, a); };
    arguments = args;
    gridDim.x = blocks;
    blockDim.x = threads;
    for (unsigned int i = 0; i < blocks; ++i) {
        blockIdx.x = order == 1 ? blocks - 1 - i : i;
        const Failure failure = run_block(threads, order, shared_bytes);
        if (failure != NONE) return failure;
    }
    return NONE;
}

}  // namespace shim

// What threads of a warp tell each other, and arithmetic on two numbers of 16 bits in a word.
namespace shim {

// Lays what each lane gives before all of its warp. Places alternate, so that none is given anew
// before all lanes have read it.
template <typename T>
const T* exchange(const T& mine) {
    static T given[2][1024];
    static unsigned int turn[1024];
    const unsigned int thread = running, place = turn[thread]++ % 2;
    given[place][thread] = mine;
    warp_barrier();
    return given[place] + thread / WARP * WARP;
}

struct Float16 {
    static float widen(unsigned short bits) { return half_to_float(bits); }
    static unsigned short round(float value) { return float_to_half(value); }
};
struct Bfloat16 {
    static float widen(unsigned short bits) { return __uint_as_float((unsigned int)bits << 16); }
    static unsigned short round(float value) {
        const unsigned int bits = __float_as_uint(value);
        if (value != value) return 0x7fff;
        return (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
    }
};

template <typename N>
float part(unsigned int two, int which) {
    return N::widen((unsigned short)(two >> which * 16));
}
template <typename N>
unsigned int pack(float low, float high) {
    return N::round(low) | (unsigned int)N::round(high) << 16;
}
template <typename N, typename F>
unsigned int both(unsigned int a, unsigned int b, F f) {
    return pack<N>(f(part<N>(a, 0), part<N>(b, 0)), f(part<N>(a, 1), part<N>(b, 1)));
}
inline float add(float a, float b) { return a + b; }
inline float mul(float a, float b) { return a * b; }
inline float min(float a, float b) { return a != a || b != b ? NAN : a < b ? a : b; }
inline float max(float a, float b) { return a != a || b != b ? NAN : a > b ? a : b; }

// d = a b + c as mma.sync.m16n8k16 deals the matrices out to the lanes.
template <typename N>
void mma(float (&d)[4], const unsigned int (&a)[4], unsigned int b0, unsigned int b1) {
    struct Operands {
        unsigned int a[4], b[2];
    };
    const Operands* const lanes = exchange(Operands{{a[0], a[1], a[2], a[3]}, {b0, b1}});
    const unsigned int lane = running % WARP;
    for (int i = 0; i < 4; ++i) {
        const int row = lane / 4, high = i / 2, column = lane % 4 * 2 + i % 2;
        double sum = d[i];
        for (int k = 0; k < 16; ++k) {
            const unsigned int left = lanes[row * 4 + k % 8 / 2].a[high + k / 8 * 2];
            const unsigned int right = lanes[column * 4 + k % 8 / 2].b[k / 8];
            sum += (double)part<N>(left, k % 2) * part<N>(right, k % 2);
        }
        d[i] = (float)sum;
    }
}

}  // namespace shim

inline void mma_f16(
    float (&d)[4], const unsigned int (&a)[4], unsigned int b0, unsigned int b1) {
    shim::mma<shim::Float16>(d, a, b0, b1);
}
inline void mma_bf16(
    float (&d)[4], const unsigned int (&a)[4], unsigned int b0, unsigned int b1) {
    shim::mma<shim::Bfloat16>(d, a, b0, b1);
}
inline void mma_f16_rounded(unsigned int* d, const unsigned int (&a)[4], unsigned int b0,
                            unsigned int b1, unsigned int c) {
    const float low = shim::part<shim::Float16>(c, 0), high = shim::part<shim::Float16>(c, 1);
    float sum[4] = {low, high, low, high};
    mma_f16(sum, a, b0, b1);
    d[0] = shim::pack<shim::Float16>(sum[0], sum[1]);
    d[1] = shim::pack<shim::Float16>(sum[2], sum[3]);
}
inline void load_matrices(unsigned int* d, const void* row) {
    const void* const* const rows = shim::exchange(row);
    const unsigned int lane = shim::running % shim::WARP;
    for (int m = 0; m < 4; ++m) d[m] = ((const unsigned int*)rows[m * 8 + lane / 4])[lane % 4];
}
#define PACKED_OP(name, number, op)                                     \
    inline unsigned int name(unsigned int a, unsigned int b) {          \
        return shim::both<shim::number>(a, b, shim::op);                \
    }
PACKED_OP(add_f16x2, Float16, add)
PACKED_OP(mul_f16x2, Float16, mul)
PACKED_OP(min_f16x2, Float16, min)
PACKED_OP(max_f16x2, Float16, max)
PACKED_OP(add_bf16x2, Bfloat16, add)
PACKED_OP(mul_bf16x2, Bfloat16, mul)
PACKED_OP(min_bf16x2, Bfloat16, min)
PACKED_OP(max_bf16x2, Bfloat16, max)
inline unsigned int pack_f16x2(float low, float high) {
    return shim::pack<shim::Float16>(low, high);
}
inline unsigned int pack_bf16x2(float low, float high) {
    return shim::pack<shim::Bfloat16>(low, high);
}
inline unsigned int permute_bytes(unsigned int a, unsigned int b, unsigned int digits) {
    unsigned int d = 0;
    for (int i = 0; i < 4; ++i) {
        const unsigned int digit = digits >> 4 * i & 15u;
        const unsigned int byte = (digit & 4 ? b : a) >> digit % 4 * 8 & 255u;
        d |= (digit & 8 ? (byte & 128u ? 255u : 0u) : byte) << 8 * i;
    }
    return d;
}
inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; ++i) c += (signed char)(a >> 8 * i) * (signed char)(b >> 8 * i);
    return c;
}
