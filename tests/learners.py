"""Gradients as learners write them: every mistake that the doctor knows, by hand; and minikd's own."""

import numpy as np

from minikd.doctor.cases import case_of


def sm(u, axis=-1):
    e = np.exp(u - u.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def lsm(u):
    return np.log(sm(u))


def over_all(u):
    e = np.exp(u - u.max())
    return e / e.sum()


def hot(y, z):
    return np.eye(z.shape[1])[y]


def hot_from_1(y, z):
    return np.arange(1, z.shape[1] + 1) == y[:, None]


def back(q, dq):
    """Through the softmax: q (dq − Σ q dq)."""
    return q * (dq - (q * dq).sum(-1, keepdims=True))


def row_sums(a):
    return a.sum(-1, keepdims=True)


def no_mean(z):
    return z - z.mean(-1, keepdims=True)


SOFT = [
    ("missing 1/T", lambda z, v, T: (sm(z / T) - sm(v / T)) / len(z)),
    ("1/T twice", lambda z, v, T: (sm(z / T) - sm(v / T)) / (T * T) / len(z)),
    ("T in place of 1/T", lambda z, v, T: T * (sm(z / T) - sm(v / T)) / len(z)),
    ("q and p swapped", lambda z, v, T: (sm(v / T) - sm(z / T)) / T / len(z)),
    ("mean over the batch forgotten", lambda z, v, T: (sm(z / T) - sm(v / T)) / T),
    ("mean over the batch taken twice", lambda z, v, T: (sm(z / T) - sm(v / T)) / T / len(z) / len(z)),
    ("mean over classes instead of sum", lambda z, v, T: (sm(z / T) - sm(v / T)) / T / z.size),
    ("T only on the student", lambda z, v, T: (sm(z / T) - sm(v)) / T / len(z)),
    ("T only on the teacher", lambda z, v, T: (sm(z) - sm(v / T)) / T / len(z)),
    ("T multiplied instead of divided", lambda z, v, T: (sm(z * T) - sm(v * T)) / T / len(z)),
    ("p forgotten", lambda z, v, T: sm(z / T) / T / len(z)),
    (
        "the teacher's one answer in place of its probabilities",
        lambda z, v, T: (sm(z / T) - hot(v.argmax(-1), v)) / T / len(z),
    ),
    ("logits where the teacher's probabilities belong", lambda z, v, T: (sm(z / T) - v) / T / len(z)),
    ("logits where the teacher's probabilities belong", lambda z, v, T: (sm(z / T) - v / T) / T / len(z)),
    ("probabilities where the teacher's logits belong", lambda z, v, T: (sm(z / T) - sm(sm(v) / T)) / T / len(z)),
    ("probabilities where the teacher's logits belong", lambda z, v, T: (sm(z / T) - sm(sm(v / T))) / T / len(z)),
    ("probabilities where the teacher's logits belong", lambda z, v, T: (sm(z / T) - sm(sm(v / T) / T)) / T / len(z)),
    ("softmax applied twice to the student", lambda z, v, T: (sm(sm(z / T)) - sm(v / T)) / T / len(z)),
    ("softmax applied twice to the student", lambda z, v, T: (sm(sm(z) / T) - sm(v / T)) / T / len(z)),
    ("softmax applied twice to the student", lambda z, v, T: (sm(sm(z / T) / T) - sm(v / T)) / T / len(z)),
    ("logits where the student's probabilities belong", lambda z, v, T: (z - sm(v / T)) / T / len(z)),
    ("logits where the student's probabilities belong", lambda z, v, T: (z / T - sm(v / T)) / T / len(z)),
    ("log q where q belongs", lambda z, v, T: (lsm(z / T) - sm(v / T)) / T / len(z)),
    ("softmax along the batch", lambda z, v, T: (sm(z / T, 0) - sm(v / T, 0)) / T / len(z)),
    ("teacher and student swapped in the cost", lambda z, v, T: back(sm(z / T), -lsm(v / T)) / T / len(z)),
    (
        "teacher and student swapped in the cost",
        lambda z, v, T: back(sm(z / T), 1 + lsm(z / T) - lsm(v / T)) / T / len(z),
    ),
    ("squared error on probabilities", lambda z, v, T: back(sm(z / T), sm(z / T) - sm(v / T)) / T / len(z)),
    ("squared error on probabilities", lambda z, v, T: back(sm(z / T), 2 * (sm(z / T) - sm(v / T))) / T / len(z)),
    (
        "the softmax's Jacobian once too often",
        lambda z, v, T: back(sm(z / T), (sm(z / T) - sm(v / T)) / T / len(z)) / T,
    ),
    (
        "logit matching in place of the cross-entropy",
        lambda z, v, T: (z - v) / (z.shape[-1] * T**2) / len(z),
    ),
    (
        "logit matching in place of the cross-entropy",
        lambda z, v, T: (z - z.mean(-1, keepdims=True) - v + v.mean(-1, keepdims=True)) / z.shape[-1] / T**2 / len(z),
    ),
    ("stopped at q", lambda z, v, T: -sm(v / T) / sm(z / T) / len(z)),
    ("stopped at q", lambda z, v, T: -(1 / T) * sm(v / T) / sm(z / T) / len(z)),
    ("stopped at log q", lambda z, v, T: -sm(v / T) / len(z)),
    ("T forgotten in both softmaxes", lambda z, v, T: (1 / T) * (sm(z) - sm(v)) / len(z)),
    ("T² in place of 1/T", lambda z, v, T: T**2 * (sm(z / T) - sm(v / T)) / len(z)),
    ("p added instead of subtracted", lambda z, v, T: (sm(z / T) + sm(v / T)) / T / len(z)),
    ("log p where p belongs", lambda z, v, T: (sm(z / T) - lsm(v / T)) / T / len(z)),
    ("q forgotten", lambda z, v, T: -sm(v / T) / T / len(z)),
    ("softmax over the whole batch", lambda z, v, T: (over_all(z / T) - over_all(v / T)) / T / len(z)),
    ("exponentials not divided by their sum", lambda z, v, T: (np.exp(z / T) - np.exp(v / T)) / T / len(z)),
    ("gradient with respect to v", lambda z, v, T: back(sm(v / T), -lsm(z / T)) / T / len(z)),
    ("only each class's own term", lambda z, v, T: -(1 / T) * sm(v / T) * (1 - sm(z / T)) / len(z)),
    ("the terms of the cost in place of its gradient", lambda z, v, T: -sm(v / T) * lsm(z / T) / len(z)),
    (
        "the terms of the cost in place of its gradient",
        lambda z, v, T: sm(v / T) * (lsm(v / T) - lsm(z / T)) / len(z),
    ),
    ("brackets around q − p forgotten", lambda z, v, T: (1 / T) * sm(z / T) - (1 / T) * sm(v / T) / len(z)),
    ("brackets around q − p forgotten", lambda z, v, T: (sm(z / T) - sm(v / T) / T) / len(z)),
    ("brackets around q − p forgotten", lambda z, v, T: sm(z / T) - sm(v / T) / T / len(z)),
    ("brackets around q − p forgotten", lambda z, v, T: (1 / T) * sm(z / T) - sm(v / T) / len(z)),
]


def every_label(z, y):
    q = sm(z)
    q[:, y] -= 1
    return q / len(z)


def twice_at_label(z, y):
    q = sm(z)
    q[np.arange(len(z)), y] -= 2
    return q / len(z)


def rows_of_labels(z, y):
    q = sm(z)
    q[y] -= 1
    return q / len(z)


HARD = [
    ("sign", lambda z, y: (hot(y, z) - sm(z)) / len(z)),
    ("label not subtracted", lambda z, y: sm(z) / len(z)),
    ("label subtracted twice", twice_at_label),
    ("every label subtracted in every case", every_label),
    ("mean over the batch forgotten", lambda z, y: sm(z) - hot(y, z)),
    ("mean over the batch taken twice", lambda z, y: (sm(z) - hot(y, z)) / len(z) ** 2),
    ("mean over classes instead of sum", lambda z, y: (sm(z) - hot(y, z)) / z.size),
    ("softmax applied twice to the student", lambda z, y: (sm(sm(z)) - hot(y, z)) / len(z)),
    ("logits where the student's probabilities belong", lambda z, y: (z - hot(y, z)) / len(z)),
    ("log q where q belongs", lambda z, y: (lsm(z) - hot(y, z)) / len(z)),
    ("softmax along the batch", lambda z, y: (sm(z, 0) - hot(y, z)) / len(z)),
    ("squared error on probabilities", lambda z, y: back(sm(z), sm(z) - hot(y, z)) / len(z)),
    ("squared error on probabilities", lambda z, y: 2 * back(sm(z), sm(z) - hot(y, z)) / len(z)),
    ("gradient at the label only", lambda z, y: np.where(hot(y, z) > 0, sm(z) - 1, 0) / len(z)),
    ("stopped at q", lambda z, y: -hot(y, z) / sm(z) / len(z)),
    ("q forgotten", lambda z, y: -hot(y, z) / len(z)),
    ("label added instead of subtracted", lambda z, y: (sm(z) + hot(y, z)) / len(z)),
    ("labels counted from 1", lambda z, y: (sm(z) - hot(y - 1, z)) / len(z)),
    ("labels counted from 1", lambda z, y: (sm(z) - hot_from_1(y, z)) / len(z)),
    ("the label's number subtracted", lambda z, y: (sm(z) - y[:, None]) / len(z)),
    ("labels used as rows", rows_of_labels),
    ("softmax over the whole batch", lambda z, y: (over_all(z) - hot(y, z)) / len(z)),
    ("exponentials not divided by their sum", lambda z, y: (np.exp(z) - hot(y, z)) / len(z)),
    ("the terms of the cost in place of its gradient", lambda z, y: -hot(y, z) * lsm(z) / len(z)),
    ("1 subtracted from every class", lambda z, y: (sm(z) - 1) / len(z)),
    ("brackets around q minus the label forgotten", lambda z, y: sm(z) - hot(y, z) / len(z)),
    ("brackets around q minus the label forgotten", lambda z, y: sm(z) / len(z) - hot(y, z)),
]


def soft(z, v, T):
    return (sm(z / T) - sm(v / T)) / T / len(z)


def hard(z, y):
    return (sm(z) - hot(y, z)) / len(z)


def distilled(soft_part):
    """A distillation gradient, right in all but its soft part."""
    return lambda z, v, y, T, alpha: alpha * T**2 * soft_part(z, v, T) + (1 - alpha) * hard(z, y)


def hardened(hard_part):
    return lambda z, v, y, T, alpha: alpha * T**2 * soft(z, v, T) + (1 - alpha) * hard_part(z, y, T)


def normalised(softmax):
    return lambda z, v, y, T, alpha: (
        (alpha * T * (softmax(z / T) - softmax(v / T)) + (1 - alpha) * (softmax(z) - hot(y, z))) / len(z)
    )


IN_SOFT_PART = {  # of the fixtures above, those that are the same mistake in the soft part of the distillation loss
    "T only on the student", "T only on the teacher", "p forgotten",
    "the teacher's one answer in place of its probabilities", "logits where the teacher's probabilities belong",
    "probabilities where the teacher's logits belong", "softmax applied twice to the student",
    "logits where the student's probabilities belong", "log q where q belongs", "T multiplied instead of divided",
    "teacher and student swapped in the cost", "squared error on probabilities", "T forgotten in both softmaxes",
    "p added instead of subtracted", "log p where p belongs", "q forgotten",
}  # fmt: skip

DISTILLATION = [
    *((name, distilled(function)) for name, function in SOFT if name in IN_SOFT_PART),
    ("missing T²", lambda z, v, y, T, alpha: alpha * soft(z, v, T) + (1 - alpha) * hard(z, y)),
    ("T in place of T²", lambda z, v, y, T, alpha: alpha * T * soft(z, v, T) + (1 - alpha) * hard(z, y)),
    (
        "divided by T² instead of multiplied",
        lambda z, v, y, T, alpha: alpha / T**2 * soft(z, v, T) + (1 - alpha) * hard(z, y),
    ),
    ("alpha and 1 − alpha forgotten", lambda z, v, y, T, alpha: T**2 * soft(z, v, T) + hard(z, y)),
    ("alpha on the hard part too", lambda z, v, y, T, alpha: alpha * (T**2 * soft(z, v, T) + hard(z, y))),
    ("label added instead of subtracted", hardened(lambda z, y, T: (sm(z) + hot(y, z)) / len(z))),
    ("labels counted from 1", hardened(lambda z, y, T: (sm(z) - hot(y - 1, z)) / len(z))),
    ("labels counted from 1", hardened(lambda z, y, T: (sm(z) - hot_from_1(y, z)) / len(z))),
    ("the label's number subtracted", hardened(lambda z, y, T: (sm(z) - y[:, None]) / len(z))),
    ("labels used as rows", hardened(lambda z, y, T: rows_of_labels(z, y))),
    ("1 subtracted from every class", hardened(lambda z, y, T: (sm(z) - 1) / len(z))),
    ("softmax over the whole batch", normalised(over_all)),
    ("exponentials not divided by their sum", normalised(np.exp)),
    ("T² on the hard part too", lambda z, v, y, T, alpha: T**2 * (alpha * soft(z, v, T) + (1 - alpha) * hard(z, y))),
    ("missing 1/T in the soft part", distilled(lambda z, v, T: (sm(z / T) - sm(v / T)) / len(z))),
    (
        "alpha and 1 − alpha swapped",
        lambda z, v, y, T, alpha: (1 - alpha) * T**2 * soft(z, v, T) + alpha * hard(z, y),
    ),
    ("1 − alpha forgotten", lambda z, v, y, T, alpha: alpha * T**2 * soft(z, v, T) + hard(z, y)),
    ("alpha forgotten", lambda z, v, y, T, alpha: T**2 * soft(z, v, T) + (1 - alpha) * hard(z, y)),
    ("hard targets at temperature T", hardened(lambda z, y, T: (sm(z / T) - hot(y, z)) / len(z))),
    ("hard targets at temperature T", hardened(lambda z, y, T: (sm(z / T) - hot(y, z)) / T / len(z))),
    ("hard part forgotten", lambda z, v, y, T, alpha: alpha * T**2 * soft(z, v, T)),
    ("soft part forgotten", lambda z, v, y, T, alpha: (1 - alpha) * hard(z, y)),
    ("q and p swapped in the soft part", distilled(lambda z, v, T: -soft(z, v, T))),
    ("sign of the hard part", hardened(lambda z, y, T: -hard(z, y))),
    ("sign", lambda z, v, y, T, alpha: -(alpha * T**2 * soft(z, v, T) + (1 - alpha) * hard(z, y))),
    ("label not subtracted", hardened(lambda z, y, T: sm(z) / len(z))),
    ("label subtracted twice", hardened(lambda z, y, T: (sm(z) - 2 * hot(y, z)) / len(z))),
    ("every label subtracted in every case", hardened(lambda z, y, T: every_label(z, y))),
    (
        "mean over the batch forgotten",
        lambda z, v, y, T, alpha: alpha * T * (sm(z / T) - sm(v / T)) + (1 - alpha) * (sm(z) - hot(y, z)),
    ),
    (
        "mean over the batch taken twice",
        lambda z, v, y, T, alpha: (alpha * T**2 * soft(z, v, T) + (1 - alpha) * hard(z, y)) / len(z),
    ),
    ("mean over the batch in the soft part only", hardened(lambda z, y, T: sm(z) - hot(y, z))),
    ("mean over the batch in the hard part only", distilled(lambda z, v, T: (sm(z / T) - sm(v / T)) / T)),
    (
        "mean over classes instead of sum",
        lambda z, v, y, T, alpha: (alpha * T**2 * soft(z, v, T) + (1 - alpha) * hard(z, y)) / z.shape[1],
    ),
    ("mean over classes in the soft part only", distilled(lambda z, v, T: (sm(z / T) - sm(v / T)) / T / z.size)),
    (
        "softmax along the batch",
        lambda z, v, y, T, alpha: (
            (alpha * T * (sm(z / T, axis=0) - sm(v / T, axis=0)) + (1 - alpha) * (sm(z, axis=0) - hot(y, z))) / len(z)
        ),
    ),
]

MATCHING = [
    ("sign", lambda z, v: (v - z) / len(z)),
    ("factor 2", lambda z, v: 2 * (z - v) / len(z)),
    ("factor ½", lambda z, v: 0.5 * (z - v) / len(z)),
    ("mean over the batch forgotten", lambda z, v: z - v),
    ("mean over the batch taken twice", lambda z, v: (z - v) / len(z) ** 2),
    ("mean over classes instead of sum", lambda z, v: (z - v) / z.size),
    ("teacher forgotten", lambda z, v: z / len(z)),
    ("probabilities where logits belong", lambda z, v: (sm(z) - sm(v)) / len(z)),
    ("means removed", lambda z, v: (no_mean(z) - no_mean(v)) / len(z)),
    ("absolute difference", lambda z, v: np.sign(z - v) / len(z)),
    ("distance not squared", lambda z, v: (z - v) / np.linalg.norm(z - v, axis=-1, keepdims=True) / len(z)),
    ("teacher added instead of subtracted", lambda z, v: (z + v) / len(z)),
    ("student forgotten", lambda z, v: -v / len(z)),
    ("log-probabilities where logits belong", lambda z, v: (lsm(z) - lsm(v)) / len(z)),
    ("the terms of the cost in place of its gradient", lambda z, v: (z - v) ** 2 / 2 / len(z)),
    ("the terms of the cost in place of its gradient", lambda z, v: (z - v) ** 2 / len(z)),
]

LIMIT = [
    ("right only for zero-mean logits", lambda z, v, T: (z - v) / (z.shape[1] * T**2) / len(z)),
    ("the mean removed on one side only", lambda z, v, T: (no_mean(z) - v) / (z.size * T**2)),
    ("the mean removed on one side only", lambda z, v, T: (z - no_mean(v)) / (z.size * T**2)),
    (
        "the sum removed instead of the mean",
        lambda z, v, T: (z - row_sums(z) - v + row_sums(v)) / (z.size * T**2),
    ),
    ("the mean over the batch removed", lambda z, v, T: (z - z.mean(0) - v + v.mean(0)) / (z.size * T**2)),
    ("the mean of the whole batch removed", lambda z, v, T: (z - z.mean() - v + v.mean()) / (z.size * T**2)),
    ("mean over classes instead of sum", lambda z, v, T: no_mean(z - v) / T**2 / z.shape[1] / z.size),
    ("teacher forgotten", lambda z, v, T: no_mean(z) / T**2 / z.size),
    ("teacher added instead of subtracted", lambda z, v, T: no_mean(z + v) / T**2 / z.size),
    ("student forgotten", lambda z, v, T: -no_mean(v) / T**2 / z.size),
    ("1/T³ in place of 1/T²", lambda z, v, T: no_mean(z - v) / T**3 / z.size),
    ("the exact gradient, not its limit", soft),
    ("missing 1/K", lambda z, v, T: (no_mean(z) - no_mean(v)) / T**2 / len(z)),
    ("1/T in place of 1/T²", lambda z, v, T: (no_mean(z) - no_mean(v)) / T / z.size),
    ("missing 1/T²", lambda z, v, T: (no_mean(z) - no_mean(v)) / z.size),
    ("sign", lambda z, v, T: (no_mean(v) - no_mean(z)) / T**2 / z.size),
    ("factor 2", lambda z, v, T: 2 * (no_mean(z) - no_mean(v)) / T**2 / z.size),
    ("factor ½", lambda z, v, T: (no_mean(z) - no_mean(v)) / T**2 / z.size / 2),
    ("mean over the batch forgotten", lambda z, v, T: (no_mean(z) - no_mean(v)) / T**2 / z.shape[1]),
    ("mean over the batch taken twice", lambda z, v, T: (no_mean(z) - no_mean(v)) / T**2 / z.size / len(z)),
]

SOFTMAX = [
    ("missing 1/T", lambda dq, q, T: q * (dq - row_sums(q * dq))),
    ("1/T twice", lambda dq, q, T: q * (dq - row_sums(q * dq)) / T**2),
    ("T in place of 1/T", lambda dq, q, T: q * (dq - row_sums(q * dq)) * T),
    ("T² in place of 1/T", lambda dq, q, T: q * (dq - row_sums(q * dq)) * T**2),
    ("sign", lambda dq, q, T: q * (row_sums(q * dq) - dq) / T),
    ("the sum forgotten", lambda dq, q, T: q * dq / T),
    ("only the diagonal q(1 − q)", lambda dq, q, T: dq * q * (1 - q) / T),
    ("the sum over the wrong axis", lambda dq, q, T: q * (dq - (q * dq).sum(0)) / T),
    ("the sum over the whole batch", lambda dq, q, T: q * (dq - (q * dq).sum()) / T),
    ("the sum not weighted by q", lambda dq, q, T: q * (dq - row_sums(dq)) / T),
    ("the mean over classes in place of the sum", lambda dq, q, T: q * (dq - (q * dq).mean(-1, keepdims=True)) / T),
    ("the log-softmax's formula", lambda dq, q, T: (dq - q * row_sums(dq)) / T),
    ("q forgotten", lambda dq, q, T: (dq - row_sums(q * dq)) / T),
    ("the sum added instead of subtracted", lambda dq, q, T: q * (dq + row_sums(q * dq)) / T),
    ("q missing on the sum", lambda dq, q, T: (q * dq - row_sums(q * dq)) / T),
    ("q only on the sum", lambda dq, q, T: (dq - q * row_sums(q * dq)) / T),
    ("the upstream gradient forgotten", lambda dq, q, T: q * (1 - q) / T),
    ("1/T on the sum only", lambda dq, q, T: q * dq - q * row_sums(q * dq) / T),
    ("softmax of q", lambda dq, q, T: back(sm(q), dq) / T),
    ("softmax of q", lambda dq, q, T: back(sm(q / T), dq) / T),
    ("averaged over the batch", lambda dq, q, T: back(q, dq) / T / len(q)),
]

LOG_SOFTMAX = [
    ("missing 1/T", lambda dlog_q, z, T: dlog_q - sm(z / T) * row_sums(dlog_q)),
    ("1/T twice", lambda dlog_q, z, T: (dlog_q - sm(z / T) * row_sums(dlog_q)) / T**2),
    ("T in place of 1/T", lambda dlog_q, z, T: (dlog_q - sm(z / T) * row_sums(dlog_q)) * T),
    ("T² in place of 1/T", lambda dlog_q, z, T: (dlog_q - sm(z / T) * row_sums(dlog_q)) * T**2),
    ("sign", lambda dlog_q, z, T: (sm(z / T) * row_sums(dlog_q) - dlog_q) / T),
    ("the sum forgotten", lambda dlog_q, z, T: dlog_q / T),
    ("only the diagonal 1 − q", lambda dlog_q, log_q, T: dlog_q * (1 - np.exp(log_q)) / T),
    ("the sum over the wrong axis", lambda dlog_q, z, T: (dlog_q - sm(z / T) * dlog_q.sum(0)) / T),
    ("the sum over the whole batch", lambda dlog_q, z, T: (dlog_q - sm(z / T) * dlog_q.sum()) / T),
    ("the sum weighted by q", lambda dlog_q, z, T: (dlog_q - sm(z / T) * row_sums(sm(z / T) * dlog_q)) / T),
    (
        "the mean over classes in place of the sum",
        lambda dlog_q, z, T: (dlog_q - sm(z / T) * dlog_q.mean(-1, keepdims=True)) / T,
    ),
    ("the softmax's formula", lambda dlog_q, z, T: back(sm(z / T), dlog_q) / T),
    ("q forgotten", lambda dlog_q, z, T: (dlog_q - row_sums(dlog_q)) / T),
    ("log q where q belongs", lambda dlog_q, log_q, T: (dlog_q - log_q * row_sums(dlog_q)) / T),
    ("the sum added instead of subtracted", lambda dlog_q, z, T: (dlog_q + sm(z / T) * row_sums(dlog_q)) / T),
    ("q on dlog_q too", lambda dlog_q, z, T: sm(z / T) * (dlog_q - row_sums(dlog_q)) / T),
    ("the upstream gradient forgotten", lambda z, T: (1 - sm(z / T)) / T),
    ("1/T on the sum only", lambda dlog_q, z, T: dlog_q - sm(z / T) * row_sums(dlog_q) / T),
    ("averaged over the batch", lambda dlog_q, z, T: (dlog_q - sm(z / T) * row_sums(dlog_q)) / T / len(z)),
]


def affine(dout, x, W):
    return dout @ W.T, x.T @ dout, dout.sum(0)


AFFINE = [
    ("W not transposed in dx", lambda dout, x, W, b: (dout @ W, x.T @ dout, dout.sum(0))),
    ("dx averaged over the batch", lambda dout, x, W, b: (dout @ W.T / len(x), x.T @ dout, dout.sum(0))),
    ("W not transposed in dx", lambda dout, x, W, b: (dout @ W.reshape(W.T.shape), x.T @ dout, dout.sum(0))),
    ("x not transposed in dW", lambda dout, x, W, b: (dout @ W.T, x.reshape(x.T.shape) @ dout, dout.sum(0))),
    ("dW transposed", lambda dout, x, W, b: (dout @ W.T, dout.T @ x, dout.sum(0))),
    ("dW averaged over the batch", lambda dout, x, W, b: (dout @ W.T, x.T @ dout / len(x), dout.sum(0))),
    ("db summed over the wrong axis", lambda dout, x, W, b: (dout @ W.T, x.T @ dout, dout.sum(-1))),
    ("db averaged over the batch", lambda dout, x, W, b: (dout @ W.T, x.T @ dout, dout.mean(0))),
    ("db not summed", lambda dout, x, W, b: (dout @ W.T, x.T @ dout, dout)),
    ("db summed over everything", lambda dout, x, W, b: (dout @ W.T, x.T @ dout, dout.sum())),
    ("dx transposed", lambda dout, x, W, b: (W @ dout.T, x.T @ dout, dout.sum(0))),
    ("db without the gradient from above", lambda dout, x, W, b: (dout @ W.T, x.T @ dout, np.ones_like(b))),
    ("db with an axis too many", lambda dout, x, W, b: (dout @ W.T, x.T @ dout, dout.sum(0, keepdims=True))),
    ("sign", lambda dout, x, W, b: (-dout @ W.T, -x.T @ dout, -dout.sum(0))),
    ("sign of dx", lambda dout, x, W, b: (-dout @ W.T, x.T @ dout, dout.sum(0))),
    ("sign of dW", lambda dout, x, W, b: (dout @ W.T, -x.T @ dout, dout.sum(0))),
    ("sign of db", lambda dout, x, W, b: (dout @ W.T, x.T @ dout, -dout.sum(0))),
    ("averaged over the batch", lambda dout, x, W, b: (dout @ W.T / len(x), x.T @ dout / len(x), dout.mean(0))),
    ("the upstream gradient forgotten", lambda dout, x, W, b: affine(np.ones_like(dout), x, W)),
]

RELU = [
    ("missing ReLU mask", lambda dout, x: dout),
    ("ReLU mask from the wrong side", lambda dout, x: np.where(x > 0, 0.0, dout)),
    ("ReLU mask from dout", lambda dout, x: np.maximum(dout, 0)),
    ("ReLU mask from dout too", lambda dout, x: np.maximum(dout, 0) * (x > 0)),
    ("the output in place of its derivative", lambda dout, out: dout * out),
    ("the upstream gradient forgotten", lambda x: (x > 0).astype(float)),
    ("sign", lambda dout, x: -dout * (x > 0)),
    ("the input in place of the mask", lambda dout, x: dout * x),
    ("the sign of x in place of the mask", lambda dout, x: dout * np.sign(x)),
    ("the forward pass in place of the backward pass", lambda dout, x: np.maximum(x, 0)),
    ("averaged over the batch", lambda dout, x: dout * (x > 0) / len(x)),
]

DROPOUT = [
    ("dropout scale forgotten", lambda dout, keep, drop: dout * keep),
    ("dropout scale twice", lambda dout, keep, drop: dout * keep / (1 - drop) / (1 - drop)),
    ("scaled by 1/drop", lambda dout, keep, drop: dout * keep / drop),
    ("multiplied by 1 − drop instead of divided", lambda dout, keep, drop: dout * keep * (1 - drop)),
    ("missing dropout mask", lambda dout, keep, drop: dout / (1 - drop)),
    ("dropout mask inverted", lambda dout, keep, drop: np.where(keep, 0, dout) / (1 - drop)),
    ("the upstream gradient forgotten", lambda dout, keep, drop: keep / (1 - drop)),
    ("sign", lambda dout, keep, drop: -dout * keep / (1 - drop)),
    ("multiplied by drop", lambda dout, keep, drop: dout * keep * drop),
    ("the forward pass in place of the backward pass", lambda x, keep, drop: x * keep / (1 - drop)),
    ("averaged over the batch", lambda dout, keep, drop: dout * keep / (1 - drop) / len(dout)),
]


def step(new_velocity, move=lambda p, old, new, g, rate, mu: p + new):
    """A step with momentum, from how it gets the velocity and how it moves the parameters."""

    def stepped(parameters, velocity, gradient, learning_rate, momentum):
        new = new_velocity(velocity, gradient, learning_rate, momentum)
        return move(parameters, velocity, new, gradient, learning_rate, momentum), new

    return stepped


def right_velocity(v, g, rate, mu):
    return mu * v - rate * g


MOMENTUM = [
    ("sign of the gradient", step(lambda v, g, rate, mu: mu * v + rate * g)),
    ("sign of the momentum", step(lambda v, g, rate, mu: -mu * v - rate * g)),
    ("sign of the step", step(right_velocity, lambda p, old, new, g, rate, mu: p - new)),
    ("1 − momentum on the gradient", step(lambda v, g, rate, mu: mu * v - (1 - mu) * rate * g)),
    ("learning rate missing", step(lambda v, g, rate, mu: mu * v - g)),
    ("learning rate applied twice", step(lambda v, g, rate, mu: mu * v - rate * rate * g)),
    ("learning rate applied twice", step(right_velocity, lambda p, old, new, g, rate, mu: p + rate * new)),
    ("momentum forgotten", step(lambda v, g, rate, mu: -rate * g)),
    ("learning rate and momentum swapped", step(lambda v, g, rate, mu: rate * v - mu * g)),
    ("parameters moved by the gradient", step(right_velocity, lambda p, old, new, g, rate, mu: p - rate * g)),
    ("parameters moved by the old velocity", step(right_velocity, lambda p, old, new, g, rate, mu: p + old)),
    ("Nesterov's step", step(right_velocity, lambda p, old, new, g, rate, mu: p + mu * new - rate * g)),
    (
        "another convention: the learning rate outside the velocity",
        step(lambda v, g, rate, mu: mu * v + g, lambda p, old, new, g, rate, mu: p - rate * new),
    ),
    (
        "another convention: the learning rate outside the velocity",
        step(lambda v, g, rate, mu: mu * v - g, lambda p, old, new, g, rate, mu: p + rate * new),
    ),
    (
        "another convention: the velocity points uphill",
        step(lambda v, g, rate, mu: mu * v + rate * g, lambda p, old, new, g, rate, mu: p - new),
    ),
    (
        "another convention: an average of the gradients",
        step(lambda v, g, rate, mu: mu * v + (1 - mu) * g, lambda p, old, new, g, rate, mu: p - rate * new),
    ),
    ("momentum on the gradient too", step(lambda v, g, rate, mu: mu * (v - rate * g))),
    ("1 − momentum on the old velocity", step(lambda v, g, rate, mu: (1 - mu) * v - rate * g)),
    ("momentum applied twice", step(lambda v, g, rate, mu: mu * mu * v - rate * g)),
    ("momentum applied twice", step(right_velocity, lambda p, old, new, g, rate, mu: p + mu * new)),
    (
        "sign of the step, and the learning rate applied twice",
        step(right_velocity, lambda p, old, new, g, rate, mu: p - rate * new),
    ),
    ("parameters not moved", step(right_velocity, lambda p, old, new, g, rate, mu: p)),
    (
        "the old velocity returned",
        lambda parameters, velocity, gradient, learning_rate, momentum: (
            parameters + momentum * velocity - learning_rate * gradient,
            velocity,
        ),
    ),
]

FIXTURES = {
    "soft cross-entropy": SOFT,
    "hard cross-entropy": HARD,
    "distillation": DISTILLATION,
    "logit matching": MATCHING,
    "high-temperature limit": LIMIT,
    "softmax": SOFTMAX,
    "log-softmax": LOG_SOFTMAX,
    "affine": AFFINE,
    "relu": RELU,
    "dropout": DROPOUT,
    "momentum": MOMENTUM,
}


def mistakes_of(problem):
    """All mistakes that the doctor knows of a problem."""
    return case_of(problem, 0).mistakes
