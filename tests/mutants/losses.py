"""Bugs in the softmax and the costs."""

from .planting import planted

MUTANTS = [
    *planted(
        "soft cost",
        "losses",
        "test_losses.py test_losses_identities.py test_losses_arguments.py",
        """
the gradient without its 1/T
- dz = (1/T) * (q - p) / B
+ dz = (q - p) / B

the gradient with the wrong sign: training leads away from the teacher
- dz = (1/T) * (q - p) / B
+ dz = (1/T) * (p - q) / B

the gradient zero: nothing is distilled
- dz = (1/T) * (q - p) / B
+ dz = (1/T) * (q - q) / B

logit matching, the limit of high T, taken for the gradient at every T
- dz = (1/T) * (q - p) / B
+ dz = (z - v) / (z.shape[-1] * T**2) / B

the gradient in half precision, the cost still in full
- dz = (1/T) * (q - p) / B
+ dz = xp.astype(xp.astype((1/T) * (q - p) / B, xp.float16), z.dtype)

the gradient clipped, which the cost knows nothing of
- dz = (1/T) * (q - p) / B
+ dz = xp.clip((1/T) * (q - p) / B, -0.1, 0.1)

the gradient divided by the number of cases twice
- dz = (1/T) * (q - p) / B
+ dz = (1/T) * (q - p) / B**2

cost and gradient averaged over the classes too: K times too small
- C = -xp.sum(p * log_q, axis=(-2, -1)) / B
- dz = (1/T) * (q - p) / B
+ C = -xp.mean(p * log_q, axis=(-2, -1))
+ dz = (1/T) * (q - p) / (B * z.shape[-1])

cost and gradient summed over the cases: B times too large
- C = -xp.sum(p * log_q, axis=(-2, -1)) / B
- dz = (1/T) * (q - p) / B
+ C = -xp.sum(p * log_q, axis=(-2, -1))
+ dz = (1/T) * (q - p)

cost and gradient with T² here, and once more in the distillation loss
- C = -xp.sum(p * log_q, axis=(-2, -1)) / B
- dz = (1/T) * (q - p) / B
+ C = -(T**2) * xp.sum(p * log_q, axis=(-2, -1)) / B
+ dz = T * (q - p) / B

half the squared error of the softened probabilities, with its own right gradient
- C = -xp.sum(p * log_q, axis=(-2, -1)) / B
- dz = (1/T) * (q - p) / B
+ C = 0.5 * xp.sum((q - p) * (q - p), axis=(-2, -1)) / B
+ dz = (1/T) * q * (q - p - xp.sum(q * (q - p), axis=-1, keepdims=True)) / B

the divergence of p from q, the other way round, with its own right gradient
- C = -xp.sum(p * log_q, axis=(-2, -1)) / B
- dz = (1/T) * (q - p) / B
+ D = xp.sum(q * (log_q - log_softmax(v, T)), axis=-1, keepdims=True)
+ C = xp.sum(D, axis=(-2, -1)) / B
+ dz = (1/T) * q * (log_q - log_softmax(v, T) - D) / B

q and p swapped in the cost
- C = -xp.sum(p * log_q, axis=(-2, -1)) / B
- dz = (1/T) * (q - p) / B
+ C = -xp.sum(q * log_softmax(v, T), axis=(-2, -1)) / B
+ dz = (1/T) * (q - p) / B

the logarithm forgotten: a divergence that is negative
- C = -xp.sum(p * log_q, axis=(-2, -1)) / B
- dz = (1/T) * (q - p) / B
+ C = -xp.sum(p * q, axis=(-2, -1)) / B
+ dz = (1/T) * (q - p) / B

T on the student's side alone
- softmax(v, T)
+ softmax(v)

T on the teacher's side alone
- log_q = log_softmax(z, T)
+ log_q = log_softmax(z)

the teacher's logits on both sides
- log_q = log_softmax(z, T)
+ log_q = log_softmax(v + 0 * z, T)

the student's logits on both sides
- softmax(v, T)
+ softmax(z, T)

the teacher's probabilities put through the softmax again
- softmax(v, T)
+ softmax(softmax(v, T))

the student's probabilities put through the softmax again
- log_q = log_softmax(z, T)
+ log_q = log_softmax(softmax(z, T))

soft targets hardened on the way: the dark knowledge is gone
- softmax(v, T)
+ one_hot(xp.argmax(v, axis=-1), z)

an epsilon inside the logarithm
- log_q = log_softmax(z, T)
+ log_q = xp.log(softmax(z, T) + 1e-8)

probabilities clipped before the logarithm
- log_q = log_softmax(z, T)
+ log_q = xp.log(xp.maximum(softmax(z, T), 1e-12))

the logarithm of the softmax in place of the log-softmax: infinite at low T
- log_q = log_softmax(z, T)
+ log_q = xp.log(softmax(z, T))

a finite cost whose gradient is inf / inf at low T
- q, p = xp.exp(log_q), softmax(v, T)
+ q, p = xp.exp(z / T) / xp.sum(xp.exp(z / T), axis=-1, keepdims=True), softmax(v, T)
""",
    ),
    *planted(
        "hard cost",
        "losses",
        "test_losses.py test_losses_identities.py test_losses_arguments.py",
        """
the gradient without its target
- dz = (q - p) / B
+ dz = q / B

the gradient with the wrong sign
- dz = (q - p) / B
+ dz = (p - q) / B

a gradient for the label's own logit alone
- dz = (q - p) / B
+ dz = p * (q - p) / B

the gradient summed over the cases
- dz = (q - p) / B
+ dz = q - p

cost and gradient averaged over the classes too
- C = -xp.sum(p * log_q, axis=(-2, -1)) / B
- dz = (q - p) / B
+ C = -xp.mean(p * log_q, axis=(-2, -1))
+ dz = (q - p) / (B * z.shape[-1])
""",
    ),
    *planted(
        "distillation loss",
        "losses",
        "test_losses.py test_losses_identities.py test_losses_arguments.py",
        """
T² forgotten
- soft_weight = alpha * T**2
+ soft_weight = alpha * 1.0

T in place of T²
- soft_weight = alpha * T**2
+ soft_weight = alpha * T

T² forgotten where there are soft targets alone
- return _of_cost(soft_weight) * C_soft, soft_weight * dz_soft
+ return C_soft, dz_soft

T² on the cost and not on the gradient
- dz = soft_weight * dz_soft + hard_weight * dz_hard
+ dz = alpha * dz_soft + hard_weight * dz_hard

T² on the hard part too
- hard_weight = 1 - alpha
+ hard_weight = (1 - alpha) * T**2

alpha and 1 − alpha swapped
- soft_weight = alpha * T**2
+ alpha = 1 - alpha
+ soft_weight = alpha * T**2

hard targets at full weight, whatever alpha is
- hard_weight = 1 - alpha
+ hard_weight = alpha * 0 + 1.0

hard targets at temperature T
- C_hard, dz_hard = hard_cross_entropy(z, y=y)
+ C_hard, dz_hard = hard_cross_entropy(z / T, y=y)

the hard gradient left out of the sum
- dz = soft_weight * dz_soft + hard_weight * dz_hard
+ dz = soft_weight * dz_soft

the soft gradient left out of the sum
- dz = soft_weight * dz_soft + hard_weight * dz_hard
+ dz = hard_weight * dz_hard
""",
    ),
    *planted(
        "logit matching",
        "losses",
        "test_losses.py test_losses_identities.py test_losses_arguments.py",
        """
the cost without its half, so that the gradient is half of the cost's own
- 0.5 * xp.sum(difference * difference, axis=(-2, -1)) / B
+ xp.sum(difference * difference, axis=(-2, -1)) / B

cost and gradient averaged over the classes too
- C = 0.5 * xp.sum(difference * difference, axis=(-2, -1)) / B
- dz = difference / B
+ C = 0.5 * xp.mean(difference * difference, axis=(-2, -1))
+ dz = difference / (B * z.shape[-1])

z and v swapped: the same cost, the gradient turned round
- difference = z - v
+ difference = v - z
""",
    ),
    *planted(
        "softmax",
        "core.softmax",
        "test_softmax.py",
        """
the largest logit not subtracted: the exponential overflows
- u = (z - xp.max(z, axis=-1, keepdims=True)) / T
+ u = z / T

the largest logit of the whole batch subtracted: other cases underflow
- u = (z - xp.max(z, axis=-1, keepdims=True)) / T
+ u = (z - xp.max(z)) / T

T multiplies the logits
- u = (z - xp.max(z, axis=-1, keepdims=True)) / T
+ u = (z - xp.max(z, axis=-1, keepdims=True)) * T

normalised over the cases
- return u - xp.log(xp.sum(xp.exp(u), axis=-1, keepdims=True))
+ return u - xp.log(xp.sum(xp.exp(u), axis=-2, keepdims=True))

T divides the log-probabilities, which then do not sum to one
- return u - xp.log(xp.sum(xp.exp(u), axis=-1, keepdims=True))
+ return u - xp.log(xp.sum(xp.exp(u * T), axis=-1, keepdims=True)) / T

softmax backward without its sum
- return (1 / T) * q * (dq - xp.sum(q * dq, axis=-1, keepdims=True))
+ return (1 / T) * q * dq

softmax backward with a sum that forgets q
- return (1 / T) * q * (dq - xp.sum(q * dq, axis=-1, keepdims=True))
+ return (1 / T) * q * (dq - xp.sum(dq, axis=-1, keepdims=True))

softmax backward without the factor q
- return (1 / T) * q * (dq - xp.sum(q * dq, axis=-1, keepdims=True))
+ return (1 / T) * (dq - xp.sum(q * dq, axis=-1, keepdims=True))

softmax backward with the Jacobian's diagonal alone
- return (1 / T) * q * (dq - xp.sum(q * dq, axis=-1, keepdims=True))
+ return (1 / T) * q * (1 - q) * dq

softmax backward without 1/T
- return (1 / T) * q * (dq - xp.sum(q * dq, axis=-1, keepdims=True))
+ return q * (dq - xp.sum(q * dq, axis=-1, keepdims=True))

log-softmax backward without its sum
- return (1 / T) * (dlog_q - xp.exp(log_q) * xp.sum(dlog_q, axis=-1, keepdims=True))
+ return (1 / T) * dlog_q

log-softmax backward with log q where q belongs
- return (1 / T) * (dlog_q - xp.exp(log_q) * xp.sum(dlog_q, axis=-1, keepdims=True))
+ return (1 / T) * (dlog_q - log_q * xp.sum(dlog_q, axis=-1, keepdims=True))

log-softmax backward without 1/T
- return (1 / T) * (dlog_q - xp.exp(log_q) * xp.sum(dlog_q, axis=-1, keepdims=True))
+ return dlog_q - xp.exp(log_q) * xp.sum(dlog_q, axis=-1, keepdims=True)
""",
    ),
    *planted(
        "population",
        "losses",
        "test_losses.py test_losses_identities.py test_losses_arguments.py",
        """
the mean taken over the students too
- log_q = log_softmax(z)
+ B = z.size // z.shape[-1]
+ log_q = log_softmax(z)

soft targets of the first student for all
- softmax(v, T)
+ softmax(v if v.ndim == 2 else v.reshape(-1, *v.shape[-2:])[0], T)
""",
    ),
    *planted(
        "population",
        "core.guard",
        "test_softmax.py test_losses.py",
        """
the first student's T and alpha for all
@ per_student
- return array
+ return array * 0 + array.ravel()[0]
""",
    ),
    *planted(
        "hard cost",
        "core.array",
        "test_losses.py",
        """
classes counted from one
- xp.arange(z.shape[-1], dtype=xp.int64)[:, None]
+ xp.arange(z.shape[-1], dtype=xp.int64)[:, None] + 1
""",
    ),
    *planted(
        "hard cost",
        "core.guard",
        "test_losses_arguments.py",
        """
labels below zero let through
- low < 0 or high >= K
+ high >= K

labels above the last class let through by the quick check
- y.view(np.uint64).max() < K
+ y.view(np.uint64).max() <= K
""",
    ),
    *planted(
        "softmax",
        "core.guard",
        "test_losses_arguments.py test_softmax.py",
        """
a NumPy float64 for T, which makes every gradient float64
@ per_student
- return float(value)
+ return np.float64(value)
""",
    ),
]
