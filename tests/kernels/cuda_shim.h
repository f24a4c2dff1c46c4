// Runs the sources of kernels/cuda on the CPU: what a block's threads see, and nothing of a GPU.
//
// Blocks run one after the other. The threads of a block are fibers: each runs until a barrier or
// its end, then the next one does, in an order that the caller picks (first to last, last to first,
// shuffled, a new shuffle after every barrier). What a missing barrier would leave to chance comes
// out different from order to order. Shared memory starts as NaNs, so that a read before a write
// shows, and ends in guard bytes, so that a write past it does. A thread that ends while others
// wait at a barrier is an error.
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
#define SHARED_MEMORY(name) unsigned char* const name = shim::shared.data()

struct Index {
    unsigned int x;
};
static Index threadIdx, blockIdx, blockDim, gridDim;

using std::fmax;
using std::fmin;

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
inline float sinpif(float x) { return (float)std::sin(3.14159265358979323846 * x); }
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

struct Fiber {
    ucontext_t context;
    std::unique_ptr<unsigned char[]> stack;
    bool done;
};
inline std::vector<Fiber> fibers;
inline ucontext_t scheduler;
inline unsigned int running;
inline bool waiting;
inline void (*body)(void**);
inline void** arguments;

inline void barrier() {
    waiting = true;
    swapcontext(&fibers[running].context, &scheduler);
}

inline void enter() {
    body(arguments);
    fibers[running].done = true;
    swapcontext(&fibers[running].context, &scheduler);
}

// Runs one block; threads go in the order 0: rising, 1: falling, else shuffled by that seed.
inline Failure run_block(unsigned int threads, unsigned int order, std::size_t shared_bytes) {
    shared.assign(shared_bytes + GUARD_BYTES, 0xFF);
    std::fill(shared.begin() + shared_bytes, shared.end(), GUARD);
    while (fibers.size() < threads) {
        fibers.push_back({{}, std::make_unique<unsigned char[]>(STACK_BYTES), false});
    }
    for (unsigned int t = 0; t < threads; ++t) {
        Fiber& fiber = fibers[t];
        fiber.done = false;
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
        unsigned int at_barrier = 0;
        for (unsigned int t : turns) {
            running = t;
            threadIdx.x = t;
            waiting = false;
            swapcontext(&scheduler, &fibers[t].context);
            at_barrier += waiting;
        }
        if (at_barrier == 0) break;
        if (at_barrier != threads) return DIVERGED;
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
