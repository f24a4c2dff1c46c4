// Features at places, interpolated between the nodes of a dense, hashed or periodic grid.
//
// One thread reads V features of one pixel (a 16-byte load where the table allows it); neighbouring
// threads hold neighbouring features, then neighbouring columns, and so mostly the same nodes.

enum Layout { DENSE, HASHED, PERIODIC };  // as in feature_grid.py

struct Corners {
    int64 rows[4];  // of the table
    float weights[4];
};

// Node `step` after `low`, along an axis of `count` nodes: clamped at the edges, or around them.
// In doubles first: a place far outside must not overflow an int.
__device__ __forceinline__ int node_after(double low, int step, int count, int layout) {
    if (layout == PERIODIC) {
        return ((int)(low - count * floor(low / count)) + step) % count;
    }
    return clamp_index((int)fmin(fmax(low, -1.0), (double)count) + step, count);
}

// The four nodes around (node_x, node_y), and their weights.
__device__ __forceinline__ Corners corners_of(
    double node_x, double node_y, int layout, int rows, int columns, int64 entries) {
    const double low_x = floor(node_x), low_y = floor(node_y);
    const double part_x = node_x - low_x, part_y = node_y - low_y;
    Corners corners;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const int column = node_after(low_x, k & 1, columns, layout);
        const int row = node_after(low_y, k >> 1, rows, layout);
        const float weight_x = (float)(k & 1 ? part_x : 1.0 - part_x);
        const float weight_y = (float)(k >> 1 ? part_y : 1.0 - part_y);
        corners.weights[k] = weight_x * weight_y;
        if (layout == HASHED) {
            const unsigned int hash = (unsigned int)column ^ (unsigned int)row * 2654435761u;
            corners.rows[k] = hash & (unsigned int)(entries - 1);  // entries: a power of two
        } else {
            corners.rows[k] = (int64)row * columns + column;
        }
    }
    return corners;
}

// Pixel `p` of [batch][height][width]; node_x [batch][width], node_y [batch][height].
__device__ __forceinline__ Corners corners_at(
    int64 p, const double* __restrict__ node_x, const double* __restrict__ node_y,
    int width, int height, int layout, int rows, int columns, int64 entries) {
    const int64 n = p / width / height;
    return corners_of(node_x[n * width + p % width], node_y[n * height + p / width % height],
                      layout, rows, columns, entries);
}

template <typename T, int V>
__global__ void feature_grid_forward(
    const T* __restrict__ table, const double* __restrict__ node_x,
    const double* __restrict__ node_y, float* __restrict__ out,
    int width, int height, int layout, int rows, int columns, int64 entries, int features,
    float weight, int64 count) {
    const int parts = features / V;
    for (int64 i = global_thread(); i < count; i += global_threads()) {
        const int part = (int)(i % parts);
        const Corners at = corners_at(i / parts, node_x, node_y, width, height, layout, rows,
                                      columns, entries);
        float sums[V] = {};
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            const Pack<T, V> node =
                *(const Pack<T, V>*)(table + at.rows[k] * features + part * V);
#pragma unroll
            for (int v = 0; v < V; ++v) sums[v] += at.weights[k] * to_float(node.values[v]);
        }
        Pack<float, V> result;
#pragma unroll
        for (int v = 0; v < V; ++v) result.values[v] = weight * sums[v];
        *(Pack<float, V>*)(out + i * V) = result;
    }
}

// Adds into `grad_table` float32 [entries][features] in whatever order the threads come.
__global__ void feature_grid_scatter(
    const float* __restrict__ grad, const double* __restrict__ node_x,
    const double* __restrict__ node_y, float* __restrict__ grad_table,
    int width, int height, int layout, int rows, int columns, int64 entries, int features,
    float weight, int64 count) {
    for (int64 i = global_thread(); i < count; i += global_threads()) {
        const int feature = (int)(i % features);
        const Corners at = corners_at(i / features, node_x, node_y, width, height, layout,
                                      rows, columns, entries);
        const float value = weight * grad[i];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            if (at.weights[k] != 0.0f) {
                atomicAdd(grad_table + at.rows[k] * features + feature, at.weights[k] * value);
            }
        }
    }
}

// Deterministic, step 1: the table row and the weight of every corner, [pixels][4].
__global__ void feature_grid_corners(
    const double* __restrict__ node_x, const double* __restrict__ node_y,
    int64* __restrict__ row_of, float* __restrict__ weight_of,
    int width, int height, int layout, int rows, int columns, int64 entries, int64 count) {
    for (int64 p = global_thread(); p < count; p += global_threads()) {
        const Corners at =
            corners_at(p, node_x, node_y, width, height, layout, rows, columns, entries);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            row_of[p * 4 + k] = at.rows[k];
            weight_of[p * 4 + k] = at.weights[k];
        }
    }
}

// Step 2, after a stable sort by table row: the thread at the first corner of a run of equal rows
// adds the run up in order. `order` is each sorted corner's place before the sort.
__global__ void feature_grid_gather(
    const float* __restrict__ grad, const int64* __restrict__ sorted_rows,
    const int64* __restrict__ order, const float* __restrict__ weight_of,
    float* __restrict__ grad_table, int features, float weight, int64 corners) {
    for (int64 i = global_thread(); i < corners * features; i += global_threads()) {
        const int64 first = i / features;
        const int feature = (int)(i % features);
        const int64 row = sorted_rows[first];
        if (first > 0 && sorted_rows[first - 1] == row) continue;
        float sum = 0.0f;
        for (int64 j = first; j < corners && sorted_rows[j] == row; ++j) {
            sum += weight_of[order[j]] * grad[order[j] / 4 * features + feature];
        }
        grad_table[row * features + feature] += weight * sum;
    }
}
