// Leaky ReLU of x + bias, times a gain, and its gradients: one pass over memory each.
//
// Tensors are dense, in one of two layouts. LAST: channels innermost, [length][channels]. Else
// planes: [batch][channels][length]. A thread handles V neighbours at a time (16 bytes where they
// are whole and aligned) and always the same channels, so that their bias is read once.

// Where a thread goes: elements [at, at + V), then `stride` further, up to `end`.
struct Walk {
    int64 at, end, stride;
    int channel;      // of the first neighbour; of all of them in planes
    int64 part;       // row of the partial sums
    int slab, rows;   // LAST: vectors a block has side by side, and pixels at once
};

// Blocks of 256 threads in LAST, of 32, 64, 128 or 256 in planes; `parts` of them share what lies
// along `length`. In LAST, wide pixels are cut into slabs of up to 256 vectors, alike in width.
template <int V, bool LAST>
__device__ __forceinline__ Walk walk_of(int channels, int64 length, int parts) {
    Walk walk;
    const unsigned int thread = threadIdx.x;
    if (LAST) {
        const int vectors = channels / V, slabs = (vectors + 255) / 256;
        walk.slab = (vectors + slabs - 1) / slabs;
        walk.rows = 256 / walk.slab;
        const int row = thread / walk.slab;
        const int vector = (int)(blockIdx.x % slabs) * walk.slab + (int)(thread % walk.slab);
        walk.part = blockIdx.x / slabs;
        walk.channel = vector * V;
        walk.at = (walk.part * walk.rows + row) * channels + walk.channel;
        walk.stride = (int64)parts * walk.rows * channels;
        walk.end = row < walk.rows && vector < vectors ? length * channels : 0;
    } else {
        const unsigned int plane = blockIdx.x / parts, part = blockIdx.x % parts;
        walk.slab = walk.rows = 0;
        walk.channel = (int)(plane % channels);
        walk.part = (int64)(plane / channels) * parts + part;
        walk.at = plane * length + ((int64)part * blockDim.x + thread) * V;
        walk.stride = (int64)parts * blockDim.x * V;
        walk.end = (plane + 1) * length;
    }
    return walk;
}

enum BiasKind { NO_BIAS = 0, BIAS_FLOAT = 1, BIAS_HALF = 2, BIAS_BFLOAT = 3 };

__device__ __forceinline__ float bias_at(const void* __restrict__ bias, int kind, int channel) {
    if (kind == BIAS_FLOAT) return ((const float*)bias)[channel];
    if (kind == BIAS_HALF) return to_float(((const half_t*)bias)[channel]);
    if (kind == BIAS_BFLOAT) return to_float(((const bfloat_t*)bias)[channel]);
    return 0.0f;
}

// out = (x + bias) * (its sign's slope) * gain. GIVEN: the signs are those of `signs` instead, an
// output of before; then this is linear in x and bias.
template <typename T, int V, bool LAST, bool GIVEN>
__global__ void __launch_bounds__(256) bias_lrelu(
    const T* __restrict__ x, const void* __restrict__ bias, const T* __restrict__ signs,
    T* __restrict__ out, int bias_kind, int channels, int64 length, int parts, float slope,
    float gain) {
    const Walk walk = walk_of<V, LAST>(channels, length, parts);
    if (walk.at >= walk.end) return;
    float biases[V];
#pragma unroll
    for (int v = 0; v < V; ++v) {
        biases[v] = LAST || v == 0 ? bias_at(bias, bias_kind, walk.channel + v) : biases[0];
    }
#pragma unroll 4
    for (int64 i = walk.at; i < walk.end; i += walk.stride) {
        const Pack<T, V> in = *(const Pack<T, V>*)(x + i);
        Pack<T, V> sign = in, result;
        if (GIVEN) sign = *(const Pack<T, V>*)(signs + i);
#pragma unroll
        for (int v = 0; v < V; ++v) {
            const float sum = to_float(in.values[v]) + biases[v];
            const bool positive = (GIVEN ? to_float(sign.values[v]) : sum) > 0.0f;
            result.values[v] = from_float<T>((positive ? sum : sum * slope) * gain);
        }
        *(Pack<T, V>*)(out + i) = result;
    }
}

// grad_x = grad * (slope by the sign of `signs`, the output) * gain, and its sums over a block's
// elements: float32 partial [parts, with the batch in planes][channels]. Each is written by one
// thread and summed in a fixed order. Shared: 256 * V floats in LAST, else one a thread.
template <typename T, int V, bool LAST>
__global__ void __launch_bounds__(256) bias_lrelu_backward(
    const T* __restrict__ grad, const T* __restrict__ signs, T* __restrict__ grad_x,
    float* __restrict__ partial, int channels, int64 length, int parts, float slope, float gain) {
    SHARED_MEMORY(memory);
    float* const shared = (float*)memory;
    const Walk walk = walk_of<V, LAST>(channels, length, parts);
    float sums[V] = {};
#pragma unroll 4
    for (int64 i = walk.at; i < walk.end; i += walk.stride) {
        const Pack<T, V> in = *(const Pack<T, V>*)(grad + i);
        const Pack<T, V> sign = *(const Pack<T, V>*)(signs + i);
        Pack<T, V> result;
#pragma unroll
        for (int v = 0; v < V; ++v) {
            const float scaled = to_float(in.values[v]) * gain;
            const float value = to_float(sign.values[v]) > 0.0f ? scaled : scaled * slope;
            result.values[v] = from_float<T>(value);
            sums[LAST ? v : 0] += value;
        }
        *(Pack<T, V>*)(grad_x + i) = result;
    }
    const int thread = threadIdx.x;
    if (LAST) {
        // [rows][slab * V]: a thread beyond the last row has none of its own.
        const int width = walk.slab * V;
        if (thread < walk.rows * walk.slab) {
#pragma unroll
            for (int v = 0; v < V; ++v) shared[thread * V + v] = sums[v];
        }
        __syncthreads();
        const int first = walk.channel - thread % walk.slab * V;
        for (int j = thread; j < width && first + j < channels; j += 256) {
            float sum = 0.0f;
            for (int row = 0; row < walk.rows; ++row) sum += shared[row * width + j];
            partial[walk.part * channels + first + j] = sum;
        }
    } else {
        shared[thread] = sums[0];
        __syncthreads();
        for (int half = blockDim.x / 2; half > 0; half /= 2) {
            if (thread < half) shared[thread] += shared[thread + half];
            __syncthreads();
        }
        if (thread == 0) partial[walk.part * channels + walk.channel] = shared[0];
    }
}
