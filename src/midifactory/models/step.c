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
#define NEAR 64          /* columns whose values stay in the first cache */
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
   keys, values: (B, G, L, K), one row's and one head's apart by the strides given in the model. */
typedef struct {
    Norm norm_attention, norm_feed_forward;
    Matrix qkv, out, rise, value, fall;
    const float *distances;
    float *keys, *values;
} Layer;

/* cos, sin: (L, K), sin signed as in positions.py, or 0. slopes: (H) of ALiBi, or 0. columns: the place of each row. */
typedef struct {
    int64_t layers, rows, width, heads, kv_heads, size, greatest, row_stride, head_stride, threads;
    const float *cos, *sin, *slopes;
    const int64_t *columns;
    Norm norm;
    Matrix head;
    const Layer *layer;
} Model;

/* No memcpy, which gcc takes through the stack in halves. */
static inline vec load(const float *from) { return *(const vec *)from; }
static inline void store(float *to, vec v) { *(vec *)to = v; }

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
    if (whole) return load((const float *)panel + index);
#ifdef __AVX512F__
    return (vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)((const int8_t *)panel + index))));
#else
    vec v;
    for (int i = 0; i < LANES; i++) v[i] = ((const int8_t *)panel)[index + i];
    return v;
#endif
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

/* The heads of one row that share keys and values: qkv ((H + 2 G) K) -> mixed (H K). scores: room for L. */
static void attend(const Model *m, const Layer *layer, int64_t row, int64_t group, const float *qkv, float *mixed, float *scores) {
    const int64_t size = m->size, share = m->heads / m->kv_heads, place = m->columns[row], count = place + 1;
    const float *cos = m->cos ? m->cos + place * size : 0, *sin = m->cos ? m->sin + place * size : 0;
    float *keys = layer->keys + row * m->row_stride + group * m->head_stride;
    float *values = layer->values + row * m->row_stride + group * m->head_stride;
    rotate(qkv + (m->heads + group) * size, cos, sin, keys + place * size, size);
    memcpy(values + place * size, qkv + (m->heads + m->kv_heads + group) * size, size * sizeof *values);
    for (int64_t head = group * share; head < (group + 1) * share; head++) {
        float query[size], with_distance[size], *to = mixed + head * size;
        rotate(qkv + head * size, cos, sin, query, size);
        for (int64_t i = 0; i < size; i++) query[i] *= 1.0f / sqrtf(size);
        for (int64_t j = 0; j < count; j++) {
            const float *key = keys + j * size;
            if (layer->distances) {
                int64_t distance = place - j < m->greatest ? place - j : m->greatest;
                const float *vector = layer->distances + distance * m->width + head * size;
                for (int64_t i = 0; i < size; i++) with_distance[i] = key[i] + vector[i];
                key = with_distance;
            }
            scores[j] = dot(query, key, size);
        }
        if (m->slopes)
            for (int64_t j = 0; j < count; j++) scores[j] -= m->slopes[head] * (float)(place - j);
        float greatest = greatest_of(scores, count);
        for (int64_t j = 0; j < count; j++) scores[j] = exponential(scores[j] - greatest);
        float total = total_of(scores, count);
        memset(to, 0, size * sizeof *to);
        for (int64_t start = 0; start < count; start += NEAR) {
            int64_t end = start + NEAR < count ? start + NEAR : count, i = 0;
            for (; i + LANES <= size; i += LANES) {
                vec sums = load(to + i);
                for (int64_t j = start; j < end; j++) sums += scores[j] * load(values + j * size + i);
                store(to + i, sums);
            }
            for (; i < size; i++)
                for (int64_t j = start; j < end; j++) to[i] += scores[j] * values[j * size + i];
        }
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
