"""Bugs in the engines: the readable one's layout, and the CUDA kernels."""

from .planting import planted

MUTANTS = [
    *planted(
        "readable engine",
        "readable",
        "test_engines.py",
        """
the logits class by class, the soft targets transposed with them
- np.ascontiguousarray(z.mT).mT
+ np.ascontiguousarray(z.mT).reshape(z.shape)

the logits left case by case, where the sums over the classes are slow
- np.ascontiguousarray(z.mT).mT
+ z

a GPU that pays for a launch per block
- P <= BLOCK or not isinstance(arrays[0], np.ndarray)
+ P <= BLOCK
""",
    ),
    *planted(
        "kernels",
        "cuda",
        "test_kernels.py",
        """
the soft gradient without 1/T
- dzb[k] += soft_weight * ((1/T) * (q - p) / B);
+ dzb[k] += soft_weight * ((q - p) / B);

the cost without T²
- soft_weight = alpha * (T * T)
+ soft_weight = alpha

T on the student's side alone
- log_sum_p = log_sum_exp(vb, K, T, &v_max)
+ log_sum_p = log_sum_exp(vb, K, 1, &v_max)

the label of the first student for all
- y[student * y_step + b]
+ y[b]

a cost that leaves out the cases beyond the first block of threads
- b < B; b += THREADS) {
+ b < B && b < THREADS; b += THREADS) {

a sum of a block with a barrier too few
- half > 0; half /= 2) { __syncthreads();
+ half > 0; half /= 2) {

ReLU's mask from the wrong side
- value *= (h[i] > 0 ? scale : (real)0)
+ value *= (h[i] >= 0 ? scale : (real)0)

dropout's scale left out of the backward pass
- (h[i] > 0 ? scale : (real)0)
+ (h[i] > 0 ? (real)1 : (real)0)

the bias gradient without the last rows
- for (int row = 1; row < ROWS; row++) sum += sums[row]
+ for (int row = 1; row < ROWS - 1; row++) sum += sums[row]

a bias gradient written with the wrong step between students
- db[blockIdx.y * db_step + j] = sum;
+ db[blockIdx.y * H + j] = sum;

ReLU that turns nan into zero
- if (hidden && out < 0) out = 0;
+ if (hidden && !(out > 0)) out = 0;

the key of the first student for all
- keys[own_key ? student : 0]
+ keys[0]

masks that count the units of the population, not of one student
- kept((unsigned int)(i % ((offset)B * H))
+ kept((unsigned int)i

a case too many in the last block
- if (i >= (offset)rows * D) return;
+ if (i > (offset)rows * D) return;

the shift of the next image
- (shift ? shift[row] : 0)
+ (shift ? shift[(row + 1) % rows] : 0)

momentum on the gradient
- momentum * v[at] - rate * g[at]
+ v[at] - momentum * rate * g[at]

clipping by the square of the norm
- real norm = sqrt(block_sum(sum, sums));
+ real norm = block_sum(sum, sums);

a norm of the first student's gradient for all
- parts[student * n_parts + i]
+ parts[i]

max-norm by a tenth too much
- column[(offset)d * H] *= max_norm / norm;
+ column[(offset)d * H] *= (real)0.9 * max_norm / norm;
""",
        in_strings=True,
    ),
    *planted(
        "kernels",
        "cuda",
        "test_kernels.py",
        """
a product with its transposes forgotten
- gemm(handle, b_order, a_order, N, M, J, one, B, ldb, b_step, A, lda, a_step, zero, C, ldc, c_step, S)
+ gemm(handle, 0, a_order, N, M, J, one, B, ldb, b_step, A, lda, a_step, zero, C, ldc, c_step, S)
""",
    ),
]
