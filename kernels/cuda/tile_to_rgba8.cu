// Network images in [-1, 1] to opaque RGBA bytes: out[n][y][x] = R, G, B, 255 in one 4-byte store.

// Rounded as the torch version does it: product, sum (never fused), clamp, cut. NaN gives 0.
__device__ __forceinline__ unsigned int byte_of(float value) {
    const float level = __fadd_rn(__fmul_rn(value, 127.5f), 128.0f);
    return (unsigned int)fminf(fmaxf(level, 0.0f), 255.0f);
}

template <typename T>
__global__ void tile_to_rgba8(
    const T* __restrict__ img, unsigned int* __restrict__ out, int height, int width,
    int64 img_n, int64 img_c, int64 img_y, int64 img_x, int64 count) {
    for (int64 i = global_thread(); i < count; i += global_threads()) {
        const T* const pixel =
            img + i / width / height * img_n + i / width % height * img_y + i % width * img_x;
        out[i] = byte_of(to_float(pixel[0])) | byte_of(to_float(pixel[img_c])) << 8 |
                 byte_of(to_float(pixel[2 * img_c])) << 16 | 0xff000000u;
    }
}
