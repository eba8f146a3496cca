/* One more token of each row through a transformer's blocks: what native.py compiles and calls.

   A step is some hundred products of a matrix and a few vectors, whose weights take longer to read than to multiply.
   So it is one parallel region: every thread takes its share of each product's outputs, and waits for the others only
   where it needs theirs. Each number is summed up in an order of its own, whatever the rows beside it and however many
   threads: a row's bits do not depend on its neighbours.

   Legend: B rows, D d_model, H heads, G heads of keys and values, K head size, W inner width, V vocabulary, L columns. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#else
#define omp_get_thread_num() 0
#define omp_get_num_threads() 1
#endif
#ifdef __AVX512F__
#include <immintrin.h>
#define LANES 16
#define TILE 8 /* rows whose sums are kept in registers */
#else
#define LANES 8
#define TILE 2
#endif
#define WIDE 32          /* outputs of a panel, which lie side by side for each input */
#define VECS (WIDE / LANES)

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* weights: panels of (inputs, WIDE), single precision, or int8 where there are scales; bias, scales: of each output. */
typedef struct {
    const void *weights;
    const float *scales, *bias;
    int64_t inputs, outputs;
} Matrix;

typedef struct {
    const float *weight, *bias; /* bias 0: none; weight 0: no norm */
    float eps;
    int32_t rms;
} Norm;

/* value: of SwiGLU, the half that `rise` gates; else without weights. distances: (M, D) of relative positions, or 0.
   keys, values: (B, G, L, K), one row's and one head's apart by the strides given in the model; in 8 bits (B, G, L,
   K + 4), the last four bytes a float that the others are to be multiplied with. */
typedef struct {
    Norm norm_attention, norm_feed_forward;
    Matrix qkv, out, rise, value, fall;
    const float *distances;
    void *keys, *values;
} Layer;

/* cos, sin: (L, K), sin signed as in positions.py, or 0. slopes: (H) of ALiBi, or 0. columns: the place of each row.
   eight: whether keys and values are. */
typedef struct {
    int64_t layers, rows, width, heads, kv_heads, size, greatest, row_stride, head_stride, threads, eight;
    const float *cos, *sin, *slopes;
    const int64_t *columns;
    Norm norm;
    Matrix head;
    const Layer *layer;
} Model;

/* No memcpy, which gcc takes through the stack in halves. */
static inline vec load(const float *from) { return *(const vec *)from; }
static inline void store(float *to, vec v) { *(vec *)to = v; }

static inline vec load_eight(const int8_t *from) {
#ifdef __AVX512F__
    return (vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from)));
#else
    vec v;
    for (int i = 0; i < LANES; i++) v[i] = from[i];
    return v;
#endif
}

static inline float sum(vec v) {
#ifdef __AVX512F__
    return _mm512_reduce_add_ps((__m512)v);
#else
    float part[LANES];
    store(part, v);
    for (int width = LANES / 2; width; width /= 2)
        for (int i = 0; i < width; i++) part[i] += part[i + width];
    return part[0];
#endif
}

static inline float dot(const float *a, const float *b, int64_t count) {
    vec total = {0};
    float rest = 0;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) total += load(a + i) * load(b + i);
    for (; i < count; i++) rest += a[i] * b[i];
    return sum(total) + rest;
}

static inline float total_of(const float *x, int64_t count) {
    vec total = {0};
    float rest = 0;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) total += load(x + i);
    for (; i < count; i++) rest += x[i];
    return sum(total) + rest;
}

static inline float greatest_of(const float *x, int64_t count) {
    float greatest = x[0], part[LANES];
    for (int i = 0; i < LANES; i++) part[i] = x[0];
    int64_t j = 0;
    for (; j + LANES <= count; j += LANES)
        for (int i = 0; i < LANES; i++) part[i] = x[j + i] > part[i] ? x[j + i] : part[i];
    for (; j < count; j++) greatest = x[j] > greatest ? x[j] : greatest;
    for (int i = 0; i < LANES; i++) greatest = part[i] > greatest ? part[i] : greatest;
    return greatest;
}

/* e^x, to 2 units in the last place: 2^n times a polynomial over half a binade (as in Cephes). */
static inline float exponential(float x) {
    x = x > 88.0f ? 88.0f : x < -87.0f ? -87.0f : x;
    float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits = ((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, 4);
    return p * power;
}

static inline float silu(float x) { return x / (1.0f + exponential(-x)); }

/* x times the normal distribution function; erf by Abramowitz and Stegun 7.1.26, to 1.5e-7. */
static inline float gelu(float x) {
    float z = fabsf(x) * 0.70710678f, t = 1.0f / (1.0f + 0.3275911f * z);
    float p = ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
    float erf = 1.0f - p * exponential(-z * z);
    return 0.5f * x * (1.0f + (x < 0 ? -erf : erf));
}

static void normalise(const Norm *norm, const float *x, float *y, int64_t width) {
    float mean = norm->rms ? 0 : total_of(x, width) / width;
    for (int64_t i = 0; i < width; i++) y[i] = x[i] - mean;
    float factor = 1.0f / sqrtf(dot(y, y, width) / width + norm->eps);
    for (int64_t i = 0; i < width; i++) y[i] = y[i] * factor * norm->weight[i];
    if (norm->bias)
        for (int64_t i = 0; i < width; i++) y[i] += norm->bias[i];
}

static inline vec weights_at(const void *panel, int64_t index, int whole) {
    return whole ? load((const float *)panel + index) : load_eight((const int8_t *)panel + index);
}

/* Sums of `rows` rows x (rows, inputs) and one panel -> y (TILE, WIDE). With both constants the sums stay in registers. */
static inline __attribute__((always_inline)) void
tile(const int rows, const int whole, const void *panel, const float *x, int64_t inputs, float *y) {
    vec sums[TILE][VECS] = {0};
    for (int64_t k = 0; k < inputs; k++)
#pragma GCC unroll 4
        for (int v = 0; v < VECS; v++) {
            vec weights = weights_at(panel, k * WIDE + v * LANES, whole);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) sums[r][v] += weights * x[r * inputs + k];
        }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < VECS; v++) store(y + r * WIDE + v * LANES, sums[r][v]);
}

#define CASE(n) case n: whole ? tile(n, 1, panel, x, inputs, y) : tile(n, 0, panel, x, inputs, y); break;

/* y (rows <= TILE, WIDE): the outputs of panel `index` for rows x, bias included. */
static void product(const Matrix *m, int64_t index, const float *x, int rows, float *y) {
    const int whole = !m->scales;
    const int64_t inputs = m->inputs, first = index * WIDE;
    const void *panel = (const char *)m->weights + first * inputs * (whole ? 4 : 1);
    switch (rows) {
        CASE(1) CASE(2)
#if TILE == 8
        CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
#endif
    }
    int64_t count = m->outputs - first < WIDE ? m->outputs - first : WIDE;
    for (int r = 0; r < rows; r++) {
        float *to = y + r * WIDE;
        if (m->scales)
            for (int64_t i = 0; i < count; i++) to[i] *= m->scales[first + i];
        if (m->bias)
            for (int64_t i = 0; i < count; i++) to[i] += m->bias[first + i];
    }
}

enum { PUT, ADD, GELU, SWIGLU };

/* This thread's share of y (B, outputs) from x (B, inputs): put there, added to it, or through an activation. */
static void multiply(const Matrix *m, const Matrix *value, int then, const float *x, float *y, int64_t rows) {
    int64_t panels = (m->outputs + WIDE - 1) / WIDE, thread = omp_get_thread_num(), threads = omp_get_num_threads();
    float found[TILE * WIDE], values[TILE * WIDE];
    for (int64_t index = thread * panels / threads; index < (thread + 1) * panels / threads; index++)
        for (int64_t row = 0; row < rows; row += TILE) {
            int some = rows - row < TILE ? rows - row : TILE;
            product(m, index, x + row * m->inputs, some, found);
            if (then == SWIGLU) product(value, index, x + row * m->inputs, some, values);
            int64_t first = index * WIDE, count = m->outputs - first < WIDE ? m->outputs - first : WIDE;
            for (int r = 0; r < some; r++) {
                float *to = y + (row + r) * m->outputs + first;
                const float *from = found + r * WIDE, *half = values + r * WIDE;
                if (then == PUT) memcpy(to, from, count * sizeof *to);
                if (then == ADD) for (int64_t i = 0; i < count; i++) to[i] += from[i];
                if (then == GELU) for (int64_t i = 0; i < count; i++) to[i] = gelu(from[i]);
                if (then == SWIGLU) for (int64_t i = 0; i < count; i++) to[i] = silu(from[i]) * half[i];
            }
        }
}

static void rotate(const float *x, const float *cos, const float *sin, float *y, int64_t size) {
    if (!cos) {
        memcpy(y, x, size * sizeof *y);
        return;
    }
    int64_t half = size / 2;
    for (int64_t i = 0; i < half; i++) {
        y[i] = x[i] * cos[i] + x[i + half] * sin[i];
        y[i + half] = x[i + half] * cos[i + half] + x[i] * sin[i + half];
    }
}

/* One column of keys or values in 8 bits, as cache.py rounds it. */
static void shrink(const float *x, int8_t *to, int64_t size) {
    float greatest = 0;
    for (int64_t i = 0; i < size; i++) greatest = fabsf(x[i]) > greatest ? fabsf(x[i]) : greatest;
    float scale = (greatest > 1.17549435e-38f ? greatest : 1.17549435e-38f) / 127;
    for (int64_t i = 0; i < size; i++) to[i] = (int8_t)nearbyintf(x[i] / scale);
    memcpy(to + size, &scale, sizeof scale);
}

static inline float scale_of(const int8_t *column, int64_t size) {
    float scale;
    memcpy(&scale, column + size, sizeof scale);
    return scale;
}

static inline vec column_at(const void *columns, int64_t index, int eight) {
    return eight ? load_eight((const int8_t *)columns + index) : load((const float *)columns + index);
}

static inline float number_at(const void *columns, int64_t index, int eight) {
    return eight ? ((const int8_t *)columns)[index] : ((const float *)columns)[index];
}

/* scores (count): query (K) times each column, `stride` numbers apart, those of `eight` without their scales. */
static inline __attribute__((always_inline)) void
products(const int eight, const float *query, const void *columns, int64_t size, int64_t stride, int64_t count, float *scores) {
    int64_t j = 0;
#ifdef __AVX512F__
    /* Sixteen at once: to add up the numbers of one register alone is the dearest part of a short product. */
    for (; size % LANES == 0 && j + 16 <= count; j += 16) {
        __m512 part[16];
#pragma GCC unroll 16
        for (int n = 0; n < 16; n++) {
            vec total = {0};
            for (int64_t i = 0; i < size; i += LANES) total += load(query + i) * column_at(columns, (j + n) * stride + i, eight);
            part[n] = (__m512)total;
        }
#pragma GCC unroll 8
        for (int n = 0; n < 16; n += 2) part[n] = _mm512_add_ps(_mm512_unpacklo_ps(part[n], part[n + 1]), _mm512_unpackhi_ps(part[n], part[n + 1]));
#pragma GCC unroll 4
        for (int n = 0; n < 16; n += 4)
            part[n] = _mm512_add_ps(_mm512_shuffle_ps(part[n], part[n + 2], 0x44), _mm512_shuffle_ps(part[n], part[n + 2], 0xee));
#pragma GCC unroll 2
        for (int n = 0; n < 16; n += 8)
            part[n] = _mm512_add_ps(_mm512_shuffle_f32x4(part[n], part[n + 4], 0x88), _mm512_shuffle_f32x4(part[n], part[n + 4], 0xdd));
        _mm512_storeu_ps(scores + j, _mm512_add_ps(_mm512_shuffle_f32x4(part[0], part[8], 0x88), _mm512_shuffle_f32x4(part[0], part[8], 0xdd)));
    }
#endif
    for (; j < count; j++) {
        vec total = {0};
        float rest = 0;
        int64_t i = 0;
        for (; i + LANES <= size; i += LANES) total += load(query + i) * column_at(columns, j * stride + i, eight);
        for (; i < size; i++) rest += query[i] * number_at(columns, j * stride + i, eight);
        scores[j] = sum(total) + rest;
    }
}

/* What a row's head says of its columns before the softmax: query (K) times each key, or key and vector of distance. */
static void score(const Model *m, const Layer *layer, int64_t head, int64_t count, const float *query, const void *keys, float *scores) {
    const int64_t size = m->size, stride = m->eight ? size + 4 : size;
    const int8_t *eight = keys;
    if (m->eight)
        products(1, query, keys, size, stride, count, scores);
    else if (!layer->distances)
        products(0, query, keys, size, stride, count, scores);
    if (m->eight)
        for (int64_t j = 0; j < count; j++) scores[j] *= scale_of(eight + j * stride, size);
    if (!layer->distances) return;
    for (int64_t j = 0; j < count; j++) {
        int64_t distance = count - 1 - j < m->greatest ? count - 1 - j : m->greatest;
        const float *vector = layer->distances + distance * m->width + head * size, *key = (const float *)keys + j * size;
        float with_distance[size];
        for (int64_t i = 0; i < size; i++) with_distance[i] = (m->eight ? 0 : key[i]) + vector[i];
        scores[j] = dot(query, with_distance, size) + (m->eight ? scores[j] : 0);
    }
}

/* Up to `vecs` registers of the sum of columns, each times its score. */
static inline __attribute__((always_inline)) void
mixture(const int eight, const int vecs, const float *scores, const void *columns, int64_t stride, int64_t count, float *to) {
    vec sums[4] = {0};
    for (int64_t j = 0; j < count; j++)
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) sums[v] += scores[j] * column_at(columns, j * stride + v * LANES, eight);
    for (int v = 0; v < vecs; v++) store(to + v * LANES, sums[v]);
}

/* to (K): the sum of all values, each times its score. */
static inline __attribute__((always_inline)) void
gather(const int eight, const float *scores, const void *values, int64_t size, int64_t stride, int64_t count, float *to) {
    int64_t i = 0, bytes = eight ? 1 : sizeof(float);
    for (; i + 4 * LANES <= size; i += 4 * LANES) mixture(eight, 4, scores, (const char *)values + i * bytes, stride, count, to + i);
    for (; i + LANES <= size; i += LANES) mixture(eight, 1, scores, (const char *)values + i * bytes, stride, count, to + i);
    for (; i < size; i++) {
        to[i] = 0;
        for (int64_t j = 0; j < count; j++) to[i] += scores[j] * number_at(values, j * stride + i, eight);
    }
}

/* The heads of one row that share keys and values: qkv ((H + 2 G) K) -> mixed (H K). scores: room for L. */
static void attend(const Model *m, const Layer *layer, int64_t row, int64_t group, const float *qkv, float *mixed, float *scores) {
    const int64_t size = m->size, share = m->heads / m->kv_heads, place = m->columns[row], count = place + 1;
    const int64_t offset = row * m->row_stride + group * m->head_stride, bytes = m->eight ? 1 : sizeof(float);
    const float *cos = m->cos ? m->cos + place * size : 0, *sin = m->cos ? m->sin + place * size : 0;
    const float *value = qkv + (m->heads + m->kv_heads + group) * size;
    char *keys = (char *)layer->keys + offset * bytes, *values = (char *)layer->values + offset * bytes;
    float vector[size];
    rotate(qkv + (m->heads + group) * size, cos, sin, vector, size);
    if (m->eight) {
        shrink(vector, (int8_t *)keys + place * (size + 4), size);
        shrink(value, (int8_t *)values + place * (size + 4), size);
    } else {
        memcpy((float *)keys + place * size, vector, size * sizeof *vector);
        memcpy((float *)values + place * size, value, size * sizeof *value);
    }
    for (int64_t head = group * share; head < (group + 1) * share; head++) {
        float *to = mixed + head * size;
        rotate(qkv + head * size, cos, sin, vector, size);
        for (int64_t i = 0; i < size; i++) vector[i] *= 1.0f / sqrtf(size);
        score(m, layer, head, count, vector, keys, scores);
        if (m->slopes)
            for (int64_t j = 0; j < count; j++) scores[j] -= m->slopes[head] * (float)(place - j);
        float greatest = greatest_of(scores, count);
        for (int64_t j = 0; j < count; j++) scores[j] = exponential(scores[j] - greatest);
        float total = total_of(scores, count);
        if (m->eight) {
            for (int64_t j = 0; j < count; j++) scores[j] *= scale_of((int8_t *)values + j * (size + 4), size);
            gather(1, scores, values, size, size + 4, count, to);
        } else
            gather(0, scores, values, size, size, count, to);
        for (int64_t j = 0; j < size; j++) to[j] /= total;
    }
}

/* x (B, D), the embedded tokens, become what the norm behind the blocks makes of them; logits (B, V), or 0 for none.
   room: B ((H + 2 G) K + D + W) numbers for all threads, and B D + L for each. */
void step(const Model *m, float *x, float *logits, float *room, int64_t inner, int64_t longest) {
    const int64_t rows = m->rows, width = m->width, wide = (m->heads + 2 * m->kv_heads) * m->size;
    float *qkv = room, *mixed = qkv + rows * wide, *risen = mixed + rows * width, *own = risen + rows * inner;
#pragma omp parallel num_threads(m->threads)
    {
        int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
        float *normed = own + thread * (rows * width + longest), *scores = normed + rows * width;
        for (const Layer *layer = m->layer; layer < m->layer + m->layers; layer++) {
            for (int64_t row = 0; row < rows; row++)
                normalise(&layer->norm_attention, x + row * width, normed + row * width, width);
            multiply(&layer->qkv, 0, PUT, normed, qkv, rows);
#pragma omp barrier
            for (int64_t task = thread; task < rows * m->kv_heads; task += threads) {
                int64_t row = task / m->kv_heads;
                attend(m, layer, row, task % m->kv_heads, qkv + row * wide, mixed + row * width, scores);
            }
#pragma omp barrier
            multiply(&layer->out, 0, ADD, mixed, x, rows);
#pragma omp barrier
            for (int64_t row = 0; row < rows; row++)
                normalise(&layer->norm_feed_forward, x + row * width, normed + row * width, width);
            multiply(&layer->rise, &layer->value, layer->value.weights ? SWIGLU : GELU, normed, risen, rows);
#pragma omp barrier
            multiply(&layer->fall, 0, ADD, risen, x, rows);
#pragma omp barrier
        }
        for (int64_t row = 0; row < rows; row++) normalise(&m->norm, x + row * width, normed + row * width, width);
        if (logits) multiply(&m->head, 0, PUT, normed, logits, rows);
#pragma omp barrier
        if (!thread) memcpy(x, normed, rows * width * sizeof *x);
    }
}
