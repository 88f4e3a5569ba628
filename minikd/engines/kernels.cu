// The kernels of minikd.engines.cuda, which launches them and says which lines of the core each one replaces.
//
// This is plain CUDA C++: no warp intrinsics, no atomics, no vector types. Every sum has a fixed order, so a run
// repeats its bits. The compiler's options define REAL (float or double) and the sizes of blocks: see `options` there.

typedef REAL real;
typedef long long offset;

// The mix of 32 bits of minikd.core.masks.hash32.
__device__ unsigned int hash32(unsigned int x)
{
    x = (x ^ (x >> 16)) * 0x7FEB352Du;
    x = (x ^ (x >> 15)) * 0x846CA68Bu;
    return x ^ (x >> 16);
}

// What a unit is multiplied by: 0, or scale if it is kept. The counter numbers the units of one mask, (B, H).
__device__ real kept(unsigned int counter, unsigned int key, unsigned int drop, real scale)
{
    return hash32(hash32(counter) ^ key) >= drop ? scale : (real)0;
}

// The sum of one number of each thread of a block, for all of them, in a fixed order.
__device__ real block_sum(real mine, real* sums)
{
    sums[threadIdx.x] = mine;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    __syncthreads();
    return sums[0];
}

// One thread per input: example n of the images X, moved by the shift, as numbers in [0, 1], or of the frames F, as
// they are; with dropout, one key per B rows. The first threads of a case fetch its label and its teacher's logits.
extern "C" __global__ void batch(
    const unsigned char* __restrict__ X, const real* __restrict__ F,
    const offset* __restrict__ n, const offset* __restrict__ shift,
    offset stride, int width, int cols, int D, int rows, int B, real pixel_scale,
    const unsigned int* __restrict__ keys, unsigned int drop, real keep_scale,
    const offset* __restrict__ y, const real* __restrict__ V, int K,
    real* __restrict__ x_out, offset* __restrict__ y_out, real* __restrict__ v_out)
{
    offset i = (offset)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (offset)rows * D) return;
    int row = (int)(i / D), j = (int)(i % D);
    offset place = n[row] * stride + (shift ? shift[row] : 0) + (j / cols) * width + j % cols;
    real x = F ? F[place] : (real)X[place] * pixel_scale;
    if (keys) x *= kept((unsigned int)(row % B * D + j), keys[row / B], drop, keep_scale);
    x_out[i] = x;
    if (j == 0) y_out[row] = y[n[row]];
    if (V) for (int k = j; k < K; k += D) v_out[(offset)row * K + k] = V[n[row] * K + k];
}

// One thread per unit and case of a hidden layer: a = max(a + b, 0) with dropout.
// A comparison with nan is false, so nan passes through, as it does through NumPy's maximum.
extern "C" __global__ void bias_relu(
    real* __restrict__ a, const real* __restrict__ b, offset b_step, int B, int H, offset size,
    const unsigned int* __restrict__ keys, int own_key, unsigned int drop, real keep_scale)
{
    offset i = (offset)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    offset student = i / ((offset)B * H);
    real out = a[i] + b[student * b_step + i % H];
    if (out < 0) out = 0;
    if (keys) out *= kept((unsigned int)(i % ((offset)B * H)), keys[own_key ? student : 0], drop, keep_scale);
    a[i] = out;
}

// log sum_k exp((z_k - largest) / T); the largest comes back too.
__device__ real log_sum_exp(const real* z, int K, real T, real* largest)
{
    real m = z[0], sum = 0;
    for (int k = 1; k < K; k++) if (z[k] > m) m = z[k];
    for (int k = 0; k < K; k++) sum += exp((z[k] - m) / T);
    *largest = m;
    return log(sum);
}

// One block per student, one thread per case: z = z + bias, both costs, their gradient dz, and that of the bias, its
// sum over the cases. v is null without soft targets, y is null without labels.
extern "C" __global__ void distillation_loss(
    real* __restrict__ z, const real* __restrict__ bias, offset bias_step,
    const real* __restrict__ v, offset v_step, const offset* __restrict__ y, offset y_step,
    const real* __restrict__ T_of, offset T_step, real T,
    const real* __restrict__ alpha_of, offset alpha_step, real alpha,
    int B, int K, real* __restrict__ C, real* __restrict__ dz, real* __restrict__ dbias, offset dbias_step)
{
    __shared__ real sums[THREADS];
    offset student = blockIdx.x;
    if (T_of) T = T_of[student * T_step];
    if (alpha_of) alpha = alpha_of[student * alpha_step];
    real soft_weight = alpha * (T * T), hard_weight = 1 - alpha, cost = 0;
    for (int b = threadIdx.x; b < B; b += THREADS) {
        real* zb = z + (student * B + b) * K;
        real* dzb = dz + (student * B + b) * K;
        for (int k = 0; k < K; k++) { zb[k] += bias[student * bias_step + k]; dzb[k] = 0; }
        real z_max, v_max;
        if (v) {
            const real* vb = v + student * v_step + (offset)b * K;
            real log_sum_q = log_sum_exp(zb, K, T, &z_max), log_sum_p = log_sum_exp(vb, K, T, &v_max), soft = 0;
            for (int k = 0; k < K; k++) {
                real log_q = (zb[k] - z_max) / T - log_sum_q;
                real q = exp(log_q), p = exp((vb[k] - v_max) / T - log_sum_p);
                soft -= p * log_q;
                dzb[k] += soft_weight * ((1/T) * (q - p) / B);
            }
            cost += soft_weight * soft;
        }
        if (y) {
            int label = (int)y[student * y_step + b];
            real log_sum_q = log_sum_exp(zb, K, 1, &z_max);
            for (int k = 0; k < K; k++) {
                real log_q = zb[k] - z_max - log_sum_q;
                dzb[k] += hard_weight * ((exp(log_q) - (k == label ? 1 : 0)) / B);
                if (k == label) cost -= hard_weight * log_q;
            }
        }
    }
    cost = block_sum(cost, sums);
    if (threadIdx.x == 0) C[student] = cost / B;
    // The gradient of the bias, COLUMNS classes at a time: a row of threads sums every `rows`-th case.
    int row = threadIdx.x / COLUMNS, column = threadIdx.x % COLUMNS, rows = THREADS / COLUMNS;
    for (int k = column; k - column < K; k += COLUMNS) {
        real sum = 0;
        if (k < K) for (int b = row; b < B; b += rows) sum += dz[(student * B + b) * K + k];
        __syncthreads();
        sums[threadIdx.x] = sum;
        __syncthreads();
        if (row > 0 || k >= K) continue;
        for (int other = 1; other < rows; other++) sum += sums[other * COLUMNS + column];
        dbias[student * dbias_step + k] = sum;
    }
}

// One block per COLUMNS units of a hidden layer: what comes back through dropout and ReLU, d where h > 0, times the
// scale of what was kept, and the gradient of the bias, its sum over the cases.
extern "C" __global__ void relu_backward(
    real* __restrict__ d, const real* __restrict__ h, real scale, real* __restrict__ db, offset db_step, int B, int H)
{
    __shared__ real sums[ROWS][COLUMNS];
    int j = blockIdx.x * COLUMNS + threadIdx.x;
    offset first = (offset)blockIdx.y * B * H;
    real sum = 0;
    if (j < H) for (int b = threadIdx.y; b < B; b += ROWS) {
        offset i = first + (offset)b * H + j;
        real value = d[i];
        d[i] = value *= (h[i] > 0 ? scale : (real)0);
        sum += value;
    }
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || j >= H) return;
    for (int row = 1; row < ROWS; row++) sum += sums[row][threadIdx.x];
    db[blockIdx.y * db_step + j] = sum;
}

// One block per part of a student's gradient: the sum of its squares.
extern "C" __global__ void square_norm(const real* __restrict__ g, offset P, real* __restrict__ parts)
{
    __shared__ real sums[THREADS];
    real sum = 0;
    for (offset i = (offset)blockIdx.x * THREADS + threadIdx.x; i < P; i += (offset)gridDim.x * THREADS) {
        real value = g[blockIdx.y * P + i];
        sum += value * value;
    }
    sum = block_sum(sum, sums);
    if (threadIdx.x == 0) parts[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

// One block per STRIP parameters of a student: v = momentum v - rate g, p = p + v, the rate scaled where the
// gradient's norm exceeds clip_norm. Where the norm is not finite the rate is nan, so that the next cost shows it.
extern "C" __global__ void momentum_step(
    real* __restrict__ p, real* __restrict__ v, const real* __restrict__ g, offset P,
    const real* __restrict__ rate_of, offset rate_step, real rate, real momentum,
    const real* __restrict__ parts, int n_parts, real clip_norm)
{
    __shared__ real sums[THREADS];
    offset student = blockIdx.y;
    if (rate_of) rate = rate_of[student * rate_step];
    if (parts) {
        real sum = 0;
        for (int i = threadIdx.x; i < n_parts; i += THREADS) sum += parts[student * n_parts + i];
        real norm = sqrt(block_sum(sum, sums));
        rate *= clip_norm / (norm > clip_norm ? norm : clip_norm) + (norm - norm);
    }
    offset first = (offset)blockIdx.x * STRIP;
    for (offset i = first + threadIdx.x; i < P && i < first + STRIP; i += THREADS) {
        offset at = student * P + i;
        real velocity = momentum * v[at] - rate * g[at];
        v[at] = velocity;
        p[at] += velocity;
    }
}

// One block per COLUMNS units: their incoming weights, scaled down to max_norm where their norm exceeds it.
extern "C" __global__ void limit_norm(real* __restrict__ W, offset W_step, int D, int H, real max_norm)
{
    __shared__ real sums[ROWS][COLUMNS];
    int j = blockIdx.x * COLUMNS + threadIdx.x;
    real* column = W + blockIdx.y * W_step + j;
    real sum = 0;
    if (j < H) for (int d = threadIdx.y; d < D; d += ROWS) sum += column[(offset)d * H] * column[(offset)d * H];
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    real total = 0;
    for (int row = 0; row < ROWS; row++) total += sums[row][threadIdx.x];
    real norm = sqrt(total);
    if (j >= H || norm <= max_norm) return;
    for (int d = threadIdx.y; d < D; d += ROWS) column[(offset)d * H] *= max_norm / norm;
}
