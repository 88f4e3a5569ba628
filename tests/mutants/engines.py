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
        "kernels.cu",
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

the last bias of the first student for all
- bias[student * bias_step + k]
+ bias[k]

the gradient of the last bias without the last rows of threads
- for (int other = 1; other < rows; other++)
+ for (int other = 1; other < rows - 1; other++)

sums of the last bias read before they are all there
- sums[threadIdx.x] = sum; __syncthreads(); if (row > 0 || k >= K) continue;
+ sums[threadIdx.x] = sum; if (row > 0 || k >= K) continue;

a bias gradient written with the wrong step between students
- db[blockIdx.y * db_step + j] = sum;
+ db[blockIdx.y * H + j] = sum;

ReLU that turns nan into zero
- if (out < 0) out = 0;
+ if (!(out > 0)) out = 0;

the key of the first student for all
- keys[own_key ? student : 0]
+ keys[0]

masks that count the units of the population, not of one student
- kept((unsigned int)(i % ((offset)B * H))
+ kept((unsigned int)i

the key of the first student and step for all batches
- keys[row / B]
+ keys[0]

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
    ),
    *planted(
        "kernels",
        "cuda",
        "test_kernels.py",
        """
a product with its transposes forgotten
- (b_order, a_order, N, M, J)
+ (0, a_order, N, M, J)
""",
    ),
    *planted(
        "graph",
        "engines.device",
        "test_graph.py",
        """
a stale buffer: the first epoch's order, rates and keys forever
- buffer[...] = there
""",
    ),
    *planted(
        "graph",
        "engines.graph",
        "test_graph.py",
        """
a shared pool: what a graph drops is given to others
- with self._stream, self._cuda.using_allocator(self._pool.malloc):
-     yield
+ with self._stream:
+     yield

the step of the rehearsal never taken back
- array[...] = copy

memory that a pool of CuPy keeps when its graph is gone
- xp.cuda.MemoryPointer(xp.cuda.UnownedMemory(mine.ptr, size, None, mine.device_id), 0)
+ xp.cuda.MemoryPointer(mine, 0)

free memory in CuPy's own pool that a graph does not get
- xp.get_default_memory_pool().free_all_blocks()
+ None

a capture during which Python collects cycles
- gc.disable()
+ None

a rehearsal that does not wait for uploads on another stream
- self._stream.wait_event(outside.record())
+ None

a rehearsal that nobody waits for
- outside.wait_event(self._stream.record())
+ None

an error that leaves the stream capturing
- with suppress(Exception):
-     self._stream.end_capture()
""",
    ),
    *planted(
        "graph",
        "loop",
        "test_graph.py",
        """
a rate that does not change: it goes where the graph does not look
- self.device.refill(rates, self._all_rates)
+ self.device.refill(rates, None)

a rate that does not change: a number of the first epoch
@ Run._set_rates
- self.device.host
+ True

a graph that keeps the state before a run was resumed
- self._captured is None or self._captured[0] is not state
+ self._captured is None

an epoch captured in spite of MINIKD_GRAPH=0
- device.captures and each <= MOST_STEPS
+ not device.host and each <= MOST_STEPS

the graph's costs left unchecked
- if not device.host:
-     ...
""",
    ),
    *planted(
        "graph",
        "engines.cublas",
        "test_graph.py",
        """
a workspace that is lost because the stream is set after it
- self.call("cublasSetStream_v2", xp.cuda.get_current_stream().ptr)
- self.call("cublasSetWorkspace_v2", self._workspace.data.ptr, WORKSPACE)
+ self.call("cublasSetWorkspace_v2", self._workspace.data.ptr, WORKSPACE)
+ self.call("cublasSetStream_v2", xp.cuda.get_current_stream().ptr)

a handle that is made once and for all streams
- handles[stream] = Handle(xp)
+ handles[stream] = next(iter(handles.values()), None) or Handle(xp)
""",
    ),
]
