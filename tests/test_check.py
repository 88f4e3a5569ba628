"""The gradient doctor names every mistake, by hand and in pairs, calls right what is right, and names nothing else."""

import inspect
import math
import re
import subprocess
import sys
from itertools import combinations

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import EPS, complex_step, naive_softmax, relative_error

from minikd import check, mistakes
from minikd.core import layers, losses, optim
from minikd.core import softmax as minikd_softmax

# ---- every mistake, as a learner would write it ----------------------------------------------------------------------


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
    ("gradient at the label alone", lambda z, y: np.where(hot(y, z) > 0, sm(z) - 1, 0) / len(z)),
    ("stopped at q", lambda z, y: -hot(y, z) / sm(z) / len(z)),
    ("q forgotten", lambda z, y: -hot(y, z) / len(z)),
    ("label added instead of subtracted", lambda z, y: (sm(z) + hot(y, z)) / len(z)),
    ("labels counted from 1", lambda z, y: (sm(z) - hot(y - 1, z)) / len(z)),
    ("the label's number subtracted", lambda z, y: (sm(z) - y[:, None]) / len(z)),
    ("labels used as rows", rows_of_labels),
    ("softmax over the whole batch", lambda z, y: (over_all(z) - hot(y, z)) / len(z)),
    ("exponentials not divided by their sum", lambda z, y: (np.exp(z) - hot(y, z)) / len(z)),
    ("the terms of the cost in place of its gradient", lambda z, y: -hot(y, z) * lsm(z) / len(z)),
    ("1 subtracted from every class", lambda z, y: (sm(z) - 1) / len(z)),
    ("brackets around q less the label forgotten", lambda z, y: sm(z) - hot(y, z) / len(z)),
    ("brackets around q less the label forgotten", lambda z, y: sm(z) / len(z) - hot(y, z)),
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
    ("transposed weight in dx", lambda dout, x, W, b: (dout @ W, x.T @ dout, dout.sum(0))),
    ("dx averaged over the batch", lambda dout, x, W, b: (dout @ W.T / len(x), x.T @ dout, dout.sum(0))),
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
    """A step with momentum, from how it gets the velocity and how it moves."""

    def stepped(p, v, g, learning_rate, momentum):
        new = new_velocity(v, g, learning_rate, momentum)
        return move(p, v, new, g, learning_rate, momentum), new

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
    ("the old velocity returned", lambda p, v, g, learning_rate, momentum: (p + momentum * v - learning_rate * g, v)),
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
EACH = [(problem, name, function) for problem, fixtures in FIXTURES.items() for name, function in fixtures]


@pytest.mark.parametrize(
    ("problem", "name", "function"), EACH, ids=[f"{problem}: {name} {i}" for i, (problem, name, _) in enumerate(EACH)]
)
def test_every_mistake_is_named(problem, name, function):
    for seed in (0, 1):
        diagnosis = check.gradient(function, problem, seed=seed)
        assert not diagnosis
        assert diagnosis.mistakes == (name,)
        assert diagnosis.alternatives == ()
        assert diagnosis.verdict == f"wrong: {name}"
        assert any(line.startswith(f"{name}: ") for line in diagnosis.details)


def test_the_fixtures_make_every_mistake_of_the_catalogue_in_each_of_its_ways():
    for name, problem in mistakes.PROBLEMS.items():
        known = sorted(mistake.name for mistake in problem.mistakes)
        assert sorted(mistake for mistake, _ in FIXTURES[name]) == known


def test_a_mistake_is_named_at_the_learners_own_arguments_too():
    z, v = np.array([[2.0, -1.0, 0.5]]), np.array([[3.0, -2.0, 1.0]])
    diagnosis = check.gradient(SOFT[0][1], "soft cross-entropy", z=z, v=v, T=8.0)
    assert diagnosis.mistakes == ("missing 1/T",)
    assert relative_error(diagnosis.truth, losses.soft_cross_entropy(z, v=v, T=8.0)[1]) < 1e-14
    assert relative_error(diagnosis.yours, 8 * diagnosis.truth) < 1e-14


# ---- two mistakes at once --------------------------------------------------------------------------------------------


def by_recipe(problem, made):
    """A learner who makes those mistakes, by the doctor's own recipe."""
    names = [*problem.arguments, *([problem.upstream] if problem.upstream else [])]

    def function(**offered):
        outputs = problem.recipe(frozenset(made), **{name: offered[name] for name in names})
        return outputs if len(outputs) > 1 else outputs[0]

    return function


def fresh(problem):
    """Arguments of shapes and numbers that the doctor with seed 0 never saw."""
    return [probe.given for probe in check._case_of_a_problem(problem.name, 12345).probes]


def outputs_at(problem, made, arguments):
    try:
        with np.errstate(all="ignore"):
            return problem.recipe(frozenset(made), **arguments)
    except ValueError:  # shapes that do not fit
        return None


def same_numbers(problem, some, others, places):
    for arguments in places:
        a, b = (outputs_at(problem, made, arguments) for made in (some, others))
        if (a is None) != (b is None):
            return False
        for x, y in zip(a or (), b or (), strict=True):
            if np.array_equal(x, y, equal_nan=True):  # also where both overflow
                continue
            with np.errstate(all="ignore"):
                if x.shape != y.shape or not np.max(np.abs(x - y)) <= 1e-12 * np.max(np.abs(y), initial=1e-300):
                    return False
    return True


def ways(problem, names):
    """Every set of mistakes that goes by those names."""
    sets = [()]
    for name in names:
        sets = [(*made, m) for made in sets for m in problem.mistakes if m.name == name]
    return sets


@pytest.mark.parametrize("problem", mistakes.PROBLEMS.values(), ids=lambda problem: problem.name)
def test_any_two_mistakes_are_named_or_two_that_are_the_same_in_numbers(problem):
    places, planted, named = fresh(problem), 0, 0
    for pair in combinations(problem.mistakes, 2):
        if pair[0].place == pair[1].place:
            continue
        diagnosis = check.gradient(by_recipe(problem, pair), problem.name)
        if diagnosis:
            assert same_numbers(problem, pair, (), places)  # one undoes the other
            continue
        explanations = [diagnosis.mistakes, *diagnosis.alternatives]
        if diagnosis.mistakes[0].endswith(("is zero everywhere", "is not finite")):  # nothing is left to tell them by
            assert not np.all(np.isfinite(diagnosis.yours) & (diagnosis.yours != 0))
            continue
        for names in explanations:
            assert any(same_numbers(problem, pair, made, places) for made in ways(problem, names)), (pair, names)
        if len(diagnosis.mistakes) == 2:
            planted += 1
            named += tuple(mistake.name for mistake in pair) in explanations
        else:
            assert len(diagnosis.mistakes) == 1  # one of them hides the other, or both together are a third
    assert planted > 10
    assert named == planted


TOGETHER = [
    ("soft cross-entropy", ("missing 1/T", "T forgotten in both softmaxes"), lambda z, v, T: (sm(z) - sm(v)) / len(z)),
    (
        "soft cross-entropy",
        ("missing 1/T", "mean over the batch forgotten", "T forgotten in both softmaxes"),
        lambda z, v, T: sm(z) - sm(v),
    ),
    (
        "soft cross-entropy",
        ("missing 1/T", "q and p swapped", "mean over the batch forgotten"),
        lambda z, v, T: sm(v / T) - sm(z / T),
    ),
    (
        "soft cross-entropy",
        ("missing 1/T", "mean over the batch forgotten", "T only on the student"),
        lambda z, v, T: sm(z / T) - sm(v),
    ),
    (
        "soft cross-entropy",
        ("1/T twice", "T forgotten in both softmaxes"),
        lambda z, v, T: (sm(z) / T - sm(v) / T) / T / len(z),
    ),
    (
        "soft cross-entropy",
        ("log p where p belongs", "log q where q belongs"),
        lambda z, v, T: (lsm(z / T) - lsm(v / T)) / T / len(z),
    ),
    (
        "soft cross-entropy",
        ("mean over the batch forgotten", "mean over classes instead of sum"),  # K for B
        lambda z, v, T: (sm(z / T) - sm(v / T)) / T / z.shape[1],
    ),
    ("hard cross-entropy", ("sign", "mean over the batch forgotten"), lambda z, y: hot(y, z) - sm(z)),
    ("hard cross-entropy", ("label not subtracted", "mean over the batch forgotten"), lambda z, y: sm(z)),
    (
        "hard cross-entropy",
        ("mean over the batch forgotten", "exponentials not divided by their sum"),
        lambda z, y: np.exp(z) - hot(y, z),
    ),
    (
        "distillation",
        ("missing T²", "T forgotten in both softmaxes"),
        lambda z, v, y, T, alpha: alpha * (sm(z) - sm(v)) / T / len(z) + (1 - alpha) * hard(z, y),
    ),
    (
        "distillation",
        ("missing T²", "alpha and 1 − alpha swapped"),
        lambda z, v, y, T, alpha: (1 - alpha) * soft(z, v, T) + alpha * hard(z, y),
    ),
    (
        "distillation",
        ("missing T²", "T² on the hard part too"),
        lambda z, v, y, T, alpha: alpha * soft(z, v, T) + (1 - alpha) * T**2 * hard(z, y),
    ),
    ("logit matching", ("factor 2", "mean over the batch forgotten"), lambda z, v: 2 * (z - v)),
    ("logit matching", ("sign", "factor 2", "mean over the batch forgotten"), lambda z, v: 2 * (v - z)),
    (
        "high-temperature limit",
        ("right only for zero-mean logits", "missing 1/K", "missing 1/T²"),
        lambda z, v, T: (z - v) / len(z),
    ),
    ("softmax", ("missing 1/T", "only the diagonal q(1 − q)"), lambda dq, q, T: dq * q * (1 - q)),
    ("softmax", ("missing 1/T", "sign"), lambda dq, q, T: -back(q, dq)),
    (
        "log-softmax",
        ("missing 1/T", "the sum weighted by q"),
        lambda dlog_q, z, T: dlog_q - sm(z / T) * row_sums(sm(z / T) * dlog_q),
    ),
    (
        "affine",
        ("dW averaged over the batch", "db averaged over the batch"),
        lambda dout, x, W, b: (dout @ W.T, x.T @ dout / len(x), dout.mean(0)),
    ),
    ("relu", ("missing ReLU mask", "sign"), lambda dout, x: -dout),
    ("dropout", ("scaled by 1/drop", "dropout mask inverted"), lambda dout, keep, drop: dout * ~keep / drop),
    ("dropout", ("dropout scale forgotten", "missing dropout mask"), lambda dout, keep, drop: +dout),
    (
        "momentum",
        ("sign of the gradient", "1 − momentum on the gradient"),
        step(lambda v, g, rate, mu: mu * v + (1 - mu) * rate * g),
    ),
    (
        "momentum",
        ("sign of the step", "the old velocity returned"),
        lambda p, v, g, learning_rate, momentum: (p - momentum * v + learning_rate * g, v),
    ),
]


@pytest.mark.parametrize(("problem", "names", "function"), TOGETHER, ids=lambda value: str(value))
def test_natural_mistakes_made_together_are_all_named(problem, names, function):
    for seed in (0, 1):
        diagnosis = check.gradient(function, problem, seed=seed)
        assert diagnosis.mistakes == names
        assert diagnosis.alternatives == ()


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1), (2, 1, 0), (1, 2, 0)])
def test_gradients_in_another_order_are_told(order):
    def function(dout, x, W, b):
        gradients = affine(dout, x, W)
        return tuple(gradients[i] for i in order)

    diagnosis = check.gradient(function, "affine")
    assert diagnosis.verdict == "wrong: the gradients in another order"
    names = ", ".join(("dx", "dW", "db")[i] for i in order)
    assert diagnosis.details[0] == f"Return (dx, dW, db); yours are ({names})."


def test_a_step_that_returns_the_velocity_first_is_told():
    def function(p, v, g, learning_rate, momentum):
        v = momentum * v - learning_rate * g
        return v, p + v

    assert check.gradient(function, "momentum").mistakes == ("the gradients in another order",)


def test_two_mistakes_made_by_hand_are_both_named():
    without_sum_or_q = check.gradient(lambda dq, T: dq / T, "softmax")
    assert without_sum_or_q.verdict == "wrong: the sum forgotten; and q forgotten"
    assert without_sum_or_q.mistakes == ("the sum forgotten", "q forgotten")
    transposed = check.gradient(lambda dout, x, W, b: (dout @ W, dout.T @ x, dout.sum(0)), "affine")
    assert transposed.mistakes == ("transposed weight in dx", "dW transposed")
    assert "right: db" in transposed.details


# ---- what is right is called right -----------------------------------------------------------------------------------


def test_the_recipes_without_a_mistake_are_the_derivative_of_the_textbook():
    for problem in mistakes.PROBLEMS.values():
        for seed in range(5):
            for probe in check._case_of_a_problem(problem.name, seed).probes:
                for recipe, truth in zip(problem.recipe(frozenset(), **probe.given), probe.truth, strict=True):
                    assert relative_error(recipe, truth) < 1e-14


def test_the_textbooks_of_the_doctor_are_those_of_the_tests():
    z, v, y = (
        np.array([[2.0, -1.0, 0.5], [0.3, 0.2, -2.0]]),
        np.array([[3.0, -2.0, 1.0], [0.0, 1.0, 1.5]]),
        np.array([0, 2]),
    )
    for name, forward, arguments in (
        ("soft cross-entropy", oracles.naive_soft_cross_entropy, {"v": v, "T": 2.5}),
        ("hard cross-entropy", oracles.naive_hard_cross_entropy, {"y": y}),
        ("distillation", oracles.naive_distillation, {"v": v, "y": y, "T": 2.5, "alpha": 0.3}),
        ("logit matching", oracles.naive_logit_matching, {"v": v}),
    ):
        probe = check._own_probe(mistakes.PROBLEMS[name], {"z": z, **arguments}, np.random.default_rng(0))
        oracle = complex_step(lambda z, forward=forward, arguments=arguments: forward(z, **arguments), z)
        assert relative_error(probe.truth[0], oracle) < 1e-14
        assert probe.cost == pytest.approx(forward(z, **arguments), rel=1e-14)


OURS = {
    "soft cross-entropy": losses.soft_cross_entropy,
    "hard cross-entropy": losses.hard_cross_entropy,
    "distillation": losses.distillation_loss,
    "logit matching": losses.logit_matching,
    "high-temperature limit": lambda z, v, T: losses.logit_matching(no_mean(z), v=no_mean(v))[1] / z.shape[1] / T**2,
    "softmax": minikd_softmax.softmax_backward,
    "log-softmax": minikd_softmax.log_softmax_backward,
    "affine": lambda dout, x, W, b: layers.affine_backward(dout, layers.affine_forward(x, W, b)[1]),
    "relu": lambda dout, x: layers.relu_backward(dout, layers.relu_forward(x)[1]),
    "dropout": lambda dout, x, keep, drop: layers.dropout_backward(dout, layers.dropout_forward(x, keep, drop)[1]),
    "momentum": optim.momentum_step,
}


@pytest.mark.parametrize("problem", OURS)
def test_minikds_own_gradients_are_right_to_rounding(problem):
    for seed in range(10):
        diagnosis = check.gradient(OURS[problem], problem, seed=seed)
        assert diagnosis.right
        assert diagnosis.error < 64 * EPS
        assert diagnosis.mistakes == ()
        assert diagnosis.verdict.startswith("right, to ")


@pytest.mark.parametrize(
    ("of", "problem"),
    [
        (losses.soft_cross_entropy, "soft cross-entropy"),
        (losses.hard_cross_entropy, "hard cross-entropy"),
        (losses.distillation_loss, "distillation"),
        (losses.logit_matching, "logit matching"),
        (minikd_softmax.softmax, "softmax"),
        (minikd_softmax.softmax_backward, "softmax"),
        (minikd_softmax.log_softmax, "log-softmax"),
        (layers.affine_forward, "affine"),
        (layers.relu_forward, "relu"),
        (layers.dropout_backward, "dropout"),
        (optim.momentum_step, "momentum"),
    ],
)
def test_a_problem_may_be_named_by_minikds_function_of_it(of, problem):
    name, function = FIXTURES[problem][0]
    assert check.gradient(function, of).mistakes == (name,)


def test_all_aliases_of_the_catalogue_are_functions_of_minikd():
    ours = {
        f"{module.__name__}.{name}"
        for module in (losses, minikd_softmax, layers, optim)
        for name, _ in inspect.getmembers(module, inspect.isfunction)
    }
    for problem in mistakes.PROBLEMS.values():
        assert set(problem.aliases) <= ours


def test_a_right_gradient_may_come_with_its_cost_or_with_one_that_differs_by_a_constant():
    def divergence(z, v, T):
        p = sm(v / T)
        return (p * (np.log(p) - lsm(z / T))).sum() / len(z), soft(z, v, T)

    assert check.gradient(divergence, "soft cross-entropy")
    assert check.gradient(losses.soft_cross_entropy, "soft cross-entropy")


def test_float32_is_judged_by_its_own_rounding_and_the_verdict_says_so():
    diagnosis = check.gradient(lambda z, v, T: soft(z, v, T).astype(np.float32), "soft cross-entropy")
    assert diagnosis.right
    assert 1e-9 < diagnosis.error < 1e-6
    assert diagnosis.verdict.endswith("(float32)")
    z = np.array([[2.0, -1.0, 0.5]], np.float32)
    assert check.gradient(losses.soft_cross_entropy, "soft cross-entropy", z=z, v=2 * z, T=3.0).right


RIGHT = [name for name in OURS if name != "momentum"]


@given(data=st.data(), problem=st.sampled_from(RIGHT), T=strategies.temperatures(1e-2, 1e3))
def test_right_gradients_are_never_called_wrong(data, problem, T):
    z = data.draw(strategies.logits(data.draw(strategies.one_student()), 30.0))
    known = mistakes.PROBLEMS[problem]
    rng = data.draw(strategies.upstreams())
    sizes = dict(zip("BK", z.shape, strict=True)) | {"D": int(rng.integers(1, 6)), "H": int(rng.integers(1, 6))}
    own = {name: check._draw(rng, argument, sizes) for name, argument in known.arguments.items()}
    own |= {"z": z, "T": T} if "T" in own else {"z": z} if "z" in own else {}
    if "v" in own:
        own["v"] = data.draw(strategies.logits(z.shape, 30.0))
    assert check.gradient(OURS[problem], problem, **own).right


# ---- what is wrong and has no name gets none -------------------------------------------------------------------------


def random_factor(rng):
    factor = float(rng.choice([-1, 1]) * 10 ** rng.uniform(-3, 3))
    return lambda dz: factor * dz


def noise(rng):
    size, seed = 10 ** rng.uniform(-8, 2), int(rng.integers(2**32))
    return lambda dz: dz + size * np.max(np.abs(dz)) * np.random.default_rng(seed).uniform(-1, 1, dz.shape)


def one_element(rng):
    size, at = 10 ** rng.uniform(-8, 2), int(rng.integers(2**16))

    def change(dz):
        dz = dz.copy()
        dz.flat[at % dz.size] += size * np.max(np.abs(dz))
        return dz

    return change


def random_array(rng):
    seed = int(rng.integers(2**32))
    return lambda dz: np.random.default_rng(seed).standard_normal(dz.shape)


def a_constant_more(rng):
    size = 10 ** rng.uniform(-8, 2)
    return lambda dz: dz + size * np.max(np.abs(dz))


def a_power(rng):
    power = rng.uniform(0.2, 0.8)
    return lambda dz: np.sign(dz) * np.abs(dz) ** power


def rows_moved(rng):
    return lambda dz: np.roll(dz, 1, axis=0)


def rounded(rng):
    return lambda dz: np.round(dz, 3)


SPOILERS = [random_factor, noise, one_element, random_array, a_constant_more, a_power, rows_moved, rounded]
ANOTHER = [  # the gradient of one problem given for another's
    ("soft cross-entropy", lambda z, v: (z - v) / len(z)),
    ("logit matching", lambda z, v: soft(z, v, 2.5)),
    ("high-temperature limit", lambda z, v: soft(z, v, 1.0)),
    ("distillation", lambda z, v, T: soft(z, v, T)),
    ("distillation", lambda z, v: (z - v) / len(z)),
    ("softmax", lambda dq, q, T: dq * (q > q.mean())),
    ("log-softmax", lambda dlog_q, z, T: np.where(z > 0, dlog_q, 0.0)),
    ("relu", lambda dout, x: dout * np.exp(x)),
    ("dropout", lambda dout, x: dout * (x > 0)),
]


def gradients_of(problem, given):
    """minikd's, as a tuple."""
    function = OURS[problem]
    known = inspect.signature(function).parameters
    result = function(**{name: value for name, value in given.items() if name in known})
    if problem in ("soft cross-entropy", "hard cross-entropy", "distillation", "logit matching"):
        result = result[1]
    return result if isinstance(result, tuple) else (result,)


def spoilt(problem, spoil, which):
    """minikd's gradient, one output of it spoilt."""

    def function(**given):
        outputs = list(gradients_of(problem, given))
        outputs[which % len(outputs)] = spoil(outputs[which % len(outputs)])
        return tuple(outputs) if len(outputs) > 1 else outputs[0]

    return function


def own_arguments(problem, rng):
    """Arguments of any shape, T and size of logits."""
    known = mistakes.PROBLEMS[problem]
    sizes = {axis: int(rng.integers(1 if axis != "K" else 2, 7)) for axis in "BKDH"}
    own = {name: check._draw(rng, argument, sizes) for name, argument in known.arguments.items()}
    size = 10 ** rng.uniform(-2, 1.3)
    own |= {name: size * own[name] for name, argument in known.arguments.items() if argument.kind == "logits"}
    return own | ({"T": float(10 ** rng.uniform(-2, 3))} if "T" in own else {})


def diagnose_at_random(rng):
    """A right or a wrong gradient, at random: whether it was right, and what the doctor says."""
    problem = RIGHT[rng.integers(len(RIGHT))]
    own = own_arguments(problem, rng) if rng.random() < 0.5 else {}
    if rng.random() < 0.4:
        return True, check.gradient(OURS[problem], problem, **own)
    spoil = SPOILERS[rng.integers(len(SPOILERS))](rng)
    return False, check.gradient(spoilt(problem, spoil, int(rng.integers(3))), problem, **own)


def count_false_names(count, seed=0):
    """Of so many random gradients: how many right ones there were, and what the doctor got wrong."""
    rng = np.random.default_rng(seed)
    told = {"right": 0, "wrong": 0, "right called wrong": 0, "wrong called right": 0, "named what is not there": 0}
    for _ in range(count):
        right, diagnosis = diagnose_at_random(rng)
        told["right" if right else "wrong"] += 1
        told["right called wrong"] += right and not diagnosis.right
        told["wrong called right"] += diagnosis.right and not right
        told["named what is not there"] += bool(diagnosis.mistakes or diagnosis.alternatives)
    return told


def test_no_name_is_false_among_random_gradients():
    told = count_false_names(200)
    assert told["right"] + told["wrong"] == 200
    assert min(told["right"], told["wrong"]) > 50
    assert told["right called wrong"] == told["wrong called right"] == told["named what is not there"] == 0


@given(
    rng=strategies.upstreams(),
    problem=st.sampled_from(list(OURS)),
    spoiler=st.sampled_from(SPOILERS),
    which=st.integers(0, 2),
)
def test_wrong_gradients_are_never_called_right_nor_given_a_name(rng, problem, spoiler, which):
    if problem == "momentum":

        def function(p, v, g, learning_rate, momentum):
            optim.momentum_step(p, v, g, learning_rate=learning_rate, momentum=momentum)
            return spoil(p), v

        spoil = spoiler(rng)
    else:
        function = spoilt(problem, spoiler(rng), which)
    diagnosis = check.gradient(function, problem)
    assert not diagnosis.right
    assert diagnosis.mistakes == ()
    assert diagnosis.alternatives == ()
    assert diagnosis.verdict.startswith(("wrong, and not one of those I know, worst at ", "wrong, but only by "))


@pytest.mark.parametrize(("problem", "function"), ANOTHER)
def test_the_gradient_of_another_problem_gets_no_name(problem, function):
    for seed in range(3):
        diagnosis = check.gradient(function, problem, seed=seed)
        assert not diagnosis.right
        assert diagnosis.mistakes == ()


# ---- what it says ----------------------------------------------------------------------------------------------------


def ok(z, v, T):
    return soft(z, v, T)


def test_an_unknown_mistake_is_shown_where_it_is_worst():
    def function(z, v, T):
        dz = ok(z, v, T)
        dz[2, 1] += 0.1
        return dz

    diagnosis = check.gradient(function, "soft cross-entropy")
    assert diagnosis.verdict == "wrong, and not one of those I know, worst at [2, 1]"
    assert (diagnosis.output, diagnosis.worst) == ("dz", (2, 1))
    assert diagnosis.mistakes == ()
    assert diagnosis.yours[2, 1] - diagnosis.truth[2, 1] == pytest.approx(0.1)
    assert diagnosis.rows()[0][0] == "dz[2, 1]"
    assert diagnosis.error == pytest.approx(max(diagnosis.error, 0.1 / np.abs(diagnosis.truth).max()))


def test_of_several_outputs_it_says_which_is_wrong_and_which_are_right():
    diagnosis = check.gradient(lambda dout, x, W, b: (dout @ W.T, x.T @ dout, 3 * dout.sum(0)), "affine")
    assert diagnosis.verdict.startswith("wrong, and not one of those I know, worst at db[")
    assert "right: dx and dW" in diagnosis.details


def test_a_constant_factor_is_told_even_where_it_has_no_name():
    diagnosis = check.gradient(lambda z, v, T: 1.25 * ok(z, v, T), "soft cross-entropy")
    assert "yours is 1.25 times the truth everywhere" in diagnosis.details
    diagnosis = check.gradient(lambda z, v, T: T**1.5 * ok(z, v, T), "soft cross-entropy")
    assert any("by a factor that the arguments decide" in line for line in diagnosis.details)


def test_nearly_right_is_wrong_with_a_hint():
    def by_differences(z, v, T):
        dz, nudge = np.empty_like(z), np.zeros_like(z)
        for i in np.ndindex(z.shape):
            nudge[i] = 1e-5
            costs = [-np.sum(sm(v / T) * lsm((z + sign * nudge) / T)) / len(z) for sign in (1, -1)]
            dz[i], nudge[i] = (costs[0] - costs[1]) / 2e-5, 0
        return dz

    for function in (by_differences, lambda z, v, T: ok(z, v, T) * (1 + 1e-9)):
        diagnosis = check.gradient(function, "soft cross-entropy")
        assert not diagnosis
        assert re.match(r"wrong, but only by \de-(09|10), worst at \[", diagnosis.verdict)
        assert any("more than rounding" in line for line in diagnosis.details)
        assert "a difference of " in diagnosis.details[0]
        assert not any("times" in line for line in diagnosis.details)


def verdict(function, problem, *names):
    diagnosis = check.gradient(function, problem)
    assert not diagnosis.right
    assert diagnosis.mistakes == names
    for words in (str(diagnosis), diagnosis._repr_html_()):
        assert words
    return diagnosis


def test_a_wrong_shape_is_told_with_the_one_that_is_expected():
    diagnosis = verdict(lambda z, v, T: ok(z, v, T).sum(0), "soft cross-entropy", "the shape of dz")
    B, K = diagnosis.truth.shape
    assert diagnosis.verdict == "wrong: the shape of dz"
    assert diagnosis.details[0].startswith(f"dz has the shape ({K},) at ")
    assert diagnosis.details[0].endswith(f"expected ({B}, {K}).")
    assert diagnosis.rows() == []
    assert diagnosis.worst == ()
    assert math.isinf(diagnosis.error)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_told_with_its_place(value):
    def function(dout, x):
        dx = dout * (x > 0)
        dx[1, 2] = value
        return dx

    diagnosis = verdict(function, "relu", "dx is not finite")
    assert diagnosis.details[0].startswith(f"dx[1, 2] is {value} at ")


def test_an_overflow_at_the_learners_own_arguments_is_told_apart_from_a_wrong_formula():
    def function(z, y):
        return (np.exp(z) / np.exp(z).sum(-1, keepdims=True) - hot(y, z)) / len(z)

    assert check.gradient(function, "hard cross-entropy").right
    diagnosis = check.gradient(function, "hard cross-entropy", z=[[1000.0, 999.0]], y=[1])
    assert diagnosis.mistakes == ("dz is not finite",)
    assert diagnosis.details[0].startswith("dz[0, 0] is nan at your own arguments")


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (lambda dz: dz.tolist(), "dz is list"),
        (lambda dz: dz.astype(int), "dz is int64"),
        (lambda dz: dz.astype(complex), "dz is complex128"),
        (lambda dz: dz.astype(np.float16), "dz is float16"),
        (lambda dz: None, "dz is NoneType"),
        (lambda dz: (1.0, 2.0, dz), "dz is tuple"),
    ],
)
def test_what_is_no_float_array_is_refused(result, words):
    diagnosis = verdict(lambda z, v, T: result(ok(z, v, T)), "soft cross-entropy", "not a float array")
    assert diagnosis.details[0].startswith(f"{words}: return a NumPy array")
    with pytest.raises(ValueError, match="yours must have"):
        diagnosis.plot()


def test_a_backward_pass_that_leaves_a_gradient_out_is_told_what_to_return():
    diagnosis = verdict(lambda dout, x, W, b: (dout @ W.T, x.T @ dout), "affine", "not the gradients asked for")
    assert diagnosis.details[0] == "Return (dx, dW, db), in this order; yours returns 2 of them."
    diagnosis = verdict(lambda dout, x, W, b: dout @ W.T, "affine", "not the gradients asked for")
    assert diagnosis.details[0].endswith("yours returns one ndarray.")


def test_writing_into_an_argument_is_told_also_beside_another_mistake():
    def function(dout, x):
        dout[x <= 0] = 0
        return dout

    def from_the_wrong_side(dout, x):
        dout[x > 0] = 0
        return dout

    diagnosis = verdict(function, "relu", "it writes into dout")
    assert diagnosis.verdict == "the gradient's numbers are right, but it writes into dout"
    diagnosis = verdict(from_the_wrong_side, "relu", "ReLU mask from the wrong side", "it writes into dout")
    assert diagnosis.verdict == "wrong: ReLU mask from the wrong side; and it writes into dout"


def test_no_argument_of_the_learner_is_changed():
    def function(z, v, T):
        z -= v
        return z

    z, v = np.array([[2.0, -1.0, 0.5]]), np.array([[3.0, -2.0, 1.0]])
    check.gradient(function, "soft cross-entropy", z=z, v=v, T=2.0)
    check.gradient(function, lambda z, v, T: np.sum(z * v) / T, z=z, v=v, T=2.0)
    assert z.tolist() == [[2.0, -1.0, 0.5]]
    assert v.tolist() == [[3.0, -2.0, 1.0]]


def test_other_numbers_the_second_time_are_told():
    rng = np.random.default_rng(0)
    diagnosis = verdict(lambda dout, x: dout * rng.random(x.shape), "relu", "other numbers the second time")
    assert "draw at random" in diagnosis.details[0]


def test_nothing_but_zeros_is_told():
    verdict(lambda z, v, T: np.zeros_like(z), "soft cross-entropy", "dz is zero everywhere")
    verdict(lambda dout, x, W, b: (dout @ W.T, 0 * W, dout.sum(0)), "affine", "dW is zero everywhere")


def test_a_function_that_raises_everywhere_raises_what_it_raised():
    error = KeyError("mine")

    def function(z, v, T):
        raise error

    with pytest.raises(KeyError) as caught:
        check.gradient(function, "soft cross-entropy")
    assert caught.value is error


def test_a_function_that_raises_at_some_shapes_is_judged_by_the_others():
    def function(dout, x, W, b):
        if W.shape[0] != W.shape[1]:
            raise ValueError("not for me")
        return dout @ W.T, x.T @ dout, dout.sum(0)

    diagnosis = verdict(function, "affine", "it raises ValueError elsewhere")
    assert diagnosis.verdict == "the gradient's numbers are right, but it raises ValueError elsewhere"
    assert diagnosis.details[0].startswith("ValueError at B = ")
    assert diagnosis.details[0].endswith(": not for me")


def test_a_cost_of_another_gradient_is_told():
    diagnosis = verdict(
        lambda z, v, T: (losses.soft_cross_entropy(z, v=v, T=T)[0] * T, ok(z, v, T)),
        "soft cross-entropy",
        "the cost is not the one of this gradient",
    )
    assert "up to a constant" in diagnosis.details[0]
    verdict(lambda z, v: ("C", (z - v) / len(z)), "logit matching", "the cost is not a number")
    diagnosis = check.gradient(lambda x: (np.sum(x) + 1, 2 * x), lambda x: np.sum(x**2), x=np.array([1.0, 3.0]))
    assert diagnosis.mistakes == ("the cost is not the one of this gradient",)


def test_a_step_may_overwrite_what_it_returns_but_not_the_gradient():
    def step(p, v, g, learning_rate, momentum):
        g *= learning_rate
        v[:] = momentum * v - g
        p += v

    verdict(step, "momentum", "it writes into g")
    assert check.gradient(optim.momentum_step, "momentum").oracle == "the definition of a step; it tells 13 digits"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: check.gradient(ok, "soft"), ValueError, "of must be one of soft cross-entropy, .*got 'soft'"),
        (lambda: check.gradient(ok, 3), TypeError, "of must be the name of a problem or a forward function, got int"),
        (
            lambda: check.gradient(3, "relu"),
            TypeError,
            "function must be the one that works out your gradient, got int",
        ),
        (
            lambda: check.gradient(lambda logits: logits, "relu"),
            TypeError,
            "asks for logits: its arguments may be x, dout, out",
        ),
        (lambda: check.gradient(ok, "relu", wrt="x"), TypeError, "wrt is for forward functions of your own"),
        (
            lambda: check.gradient(ok, "soft cross-entropy", z=[[1.0]]),
            TypeError,
            "has the arguments z, v, T: got z; give",
        ),
        (lambda: own_soft(T="8"), TypeError, "T must hold real numbers"),
        (lambda: own_soft(T=0.0), ValueError, "T must be a finite number > 0, got 0.0"),
        (lambda: own_soft(T=1e-320), ValueError, "no finite gradient at your arguments"),
        (
            lambda: check.gradient(ok, "dropout", x=[[1.0]], keep=[[True]], drop=1.0),
            ValueError,
            r"drop must be a probability in \[0, 1\), got 1.0",
        ),
        (
            lambda: check.gradient(ok, "dropout", x=[[1.0]], keep=[[1.0]], drop=0.5),
            TypeError,
            "keep must hold booleans, got float64",
        ),
        (lambda: own_soft(z=[1.0, 2.0]), ValueError, r"z must have the axes \(B, K\), got shape \(2,\): one student"),
        (lambda: own_soft(v=[[1.0, 2.0]]), ValueError, r"v must have K = 3, got shape \(1, 2\)"),
        (lambda: own_soft(T=[2.0]), ValueError, r"T must be a single number, got shape \(1,\)"),
        (lambda: own_soft(z=[[1.0, np.nan, 0.0]]), ValueError, "z must be finite, got .*nan"),
        (
            lambda: own_soft(z=np.zeros((100, 100)), v=np.zeros((100, 100))),
            ValueError,
            "z may have 5000 elements, .*got 10000",
        ),
        (
            lambda: check.gradient(hard, "hard cross-entropy", z=[[1.0, 2.0]], y=[2]),
            ValueError,
            r"y must be labels from 0 to K − 1 = 1, got \[2\]",
        ),
        (
            lambda: check.gradient(hard, "hard cross-entropy", z=[[1.0, 2.0]], y=[0.5]),
            TypeError,
            "y must hold integers",
        ),
        (lambda: check.gradient(ok, lambda x: x, x=3), TypeError, "one a float array at least"),
        (
            lambda: check.gradient(ok, lambda x: x, x=[3.0], wrt="y"),
            TypeError,
            "wrt must name float arrays .*x, got 'y'",
        ),
        (lambda: check.gradient(ok, lambda x: (x, x), x=[3.0]), TypeError, "must return a float .*got tuple"),
        (lambda: check.gradient(ok, lambda x: x > 0, x=[3.0]), TypeError, "must return a float .*got bool"),
        (lambda: check.gradient(lambda x: x, lambda x: np.sum(x / 0), x=[3.0]), ValueError, "no finite gradient"),
        (
            lambda: check.gradient(lambda x: x, lambda x: np.sum(0 * x), x=[3.0]),
            ValueError,
            "is lost in rounding: is it zero",
        ),
        (
            lambda: check.gradient(lambda x: x, lambda x: float(np.sum(np.float16(np.real(x)))), x=[3.3, 0.1]),
            ValueError,
            "is lost in rounding: is it zero",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused_in_words(call, error, message):
    with pytest.raises(error, match=message), np.errstate(all="ignore"):
        call()


def own_soft(**change):
    arguments = {"z": [[2.0, -1.0, 0.5]], "v": [[3.0, -2.0, 1.0]], "T": 8.0, **change}
    return check.gradient(ok, "soft cross-entropy", **arguments)


def test_lists_and_integers_become_float_arrays():
    assert own_soft(z=[[2, -1, 0]]).right


def test_a_gradient_below_the_reach_of_the_complex_step_is_not_held_against_anyone():
    tiny = np.array([[1e-307, 2e-307]])
    assert check.gradient(losses.logit_matching, "logit matching", z=tiny, v=0 * tiny).right


def test_a_kink_is_not_judged():
    for at_kink in (lambda dout, x: dout * (x > 0), lambda dout, x: dout * (x >= 0)):
        assert check.gradient(at_kink, "relu", x=[[0.0, 1.0, -1.0]]).right
    assert not check.gradient(
        lambda dout, x: np.where(x == 0, np.nan, dout * (x > 0)), "relu", x=[[0.0, 1.0, -1.0]]
    ).right


# ---- forward functions of one's own ----------------------------------------------------------------------------------

X, W, b = (np.random.default_rng(7).standard_normal(shape) for shape in ((4, 3), (3, 5), (5,)))


def tanh_layer(x, W, b):
    return np.tanh(x @ W + b)


def tanh_backward(dout, x, W, b):
    du = dout * (1 - np.tanh(x @ W + b) ** 2)
    return du @ W.T, x.T @ du, du.sum(0)


def test_an_array_forward_of_ones_own_is_differentiated_by_complex_step():
    diagnosis = check.gradient(tanh_backward, tanh_layer, wrt=("x", "W", "b"), x=X, W=W, b=b)
    assert diagnosis.right
    assert diagnosis.error < 64 * EPS
    assert diagnosis.oracle.startswith("complex step through your forward function; it tells 1")
    first = check.gradient(lambda dout, x, W, b: tanh_backward(dout, x, W, b)[0], tanh_layer, x=X, W=W, b=b)
    assert first.right
    assert first.output == "dx"


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: np.sum(np.abs(x) ** 3) / 3,  # loses the imaginary part
        lambda x: np.sum(np.asarray(x, float) ** 3 * np.sign(x)) / 3,  # drops it, with a warning
        lambda x: float(np.sum(np.maximum(x, 0) ** 3 - np.minimum(x, 0) ** 3)) / 3,  # raises
        lambda x: sum(math.pow(abs(x_i), 3) for x_i in x) / 3,
        lambda x: np.sum(np.conj(x) * x * np.abs(np.real(x))) / 3,
    ],
)
def test_a_forward_that_takes_no_complex_numbers_is_found_out_and_differentiated_by_differences(forward):
    x = np.array([1.3, -0.4, 2.2])
    diagnosis = check.gradient(lambda x: x * np.abs(x), forward, x=x)
    assert diagnosis.right
    assert diagnosis.oracle.startswith("central differences of your forward function")
    assert digits(diagnosis) >= 7
    assert not check.gradient(lambda x: x * np.abs(x) * (1 + 1e-5), forward, x=x)


def digits(diagnosis):
    return int(diagnosis.oracle.split("tells ")[1].split()[0])


@pytest.mark.parametrize(("T", "least"), [(0.1, 8), (1.0, 8), (8.0, 8), (1000.0, 6)])
def test_differences_take_their_step_from_T(T, least):
    z, v = np.array([[0.2, -0.1, 0.5]]), np.array([[0.3, -0.2, 1.0]])

    def real_only(z, v, T):
        return float(losses.soft_cross_entropy(np.asarray(z, float), v=v, T=T)[0])

    diagnosis = check.gradient(soft, real_only, z=z, v=v, T=T)
    assert diagnosis.right
    assert diagnosis.oracle.startswith("central differences")
    assert digits(diagnosis) >= least  # at T = 1000 a step of the logits' own size leaves three


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_differences_take_their_step_from_the_argument(size):
    x = size * np.array([0.3, -1.2, 2.0])
    wave = lambda x: float(np.sum(np.sin(np.real(x) / size)))  # noqa: E731
    diagnosis = check.gradient(lambda x: np.cos(x / size) / size, wave, x=x)
    assert diagnosis.right
    assert digits(diagnosis) >= 8


@pytest.mark.parametrize("T", [0.5, 8.0, 1000.0])
def test_the_tolerance_follows_what_rounding_leaves_at_high_T(T):
    z, v = np.random.default_rng(3).standard_normal((2, 4, 5))

    def forward(z, v, T):
        return -np.sum(naive_softmax(v, T) * np.log(naive_softmax(z, T))) / len(z)

    assert check.gradient(soft, forward, z=z, v=v, T=T).right
    missing = check.gradient(lambda z, v, T: T * soft(z, v, T), forward, z=z, v=v, T=T)
    assert missing.mistakes == ("T times too large",)


GENERAL = {
    "sign": lambda dx: -dx,
    "T times too large": lambda dx: dx * 2.0,
    "T times too small": lambda dx: dx / 2.0,
    "T² times too large": lambda dx: dx * 4.0,
    "T² times too small": lambda dx: dx / 4.0,
    "B times too large": lambda dx: dx * 4,
    "B times too small": lambda dx: dx / 4,
    "K times too large": lambda dx: dx * 5,
    "K times too small": lambda dx: dx / 5,
    "factor 2": lambda dx: dx * 2,
    "factor ½": lambda dx: dx / 2,
    "transposed": lambda dx: dx.T,
}


@pytest.mark.parametrize("name", GENERAL)
def test_general_mistakes_are_named_and_T_is_told_from_a_number_of_the_same_size(name):
    x = np.random.default_rng(1).standard_normal((4, 5))

    def forward(x, T):
        return np.sum(np.sin(x / T) * np.arange(5)) / 4

    def wrong(x, T):
        dx = np.cos(x / T) * np.arange(5) / T / 4
        return (
            GENERAL[name](dx)
            if "T" not in name
            else dx
            * {
                "T times too large": T,
                "T times too small": 1 / T,
                "T² times too large": T**2,
                "T² times too small": T**-2,
            }[name]
        )

    diagnosis = check.gradient(wrong, forward, x=x, T=2.0)
    assert diagnosis.mistakes == (name,)
    assert diagnosis.alternatives == ()


def test_a_bias_not_summed_or_summed_over_the_wrong_axis_is_named():
    for name, db in (("not summed", lambda dout: dout), ("summed over the wrong axis", lambda dout: dout.sum(1))):
        diagnosis = check.gradient(
            lambda dout, x, b, db=db: db(dout), lambda x, b: x + b, x=np.ones((4, 5)), b=b, wrt="b"
        )
        assert diagnosis.mistakes == (name,)


def test_two_general_mistakes_and_two_that_cannot_be_told_apart():
    x = np.random.default_rng(1).standard_normal((3, 3))
    both = check.gradient(lambda x: -2 * x.T / 3, lambda x: np.sum(x**2) / 3, x=x)
    assert both.mistakes == ("sign", "transposed")
    either = check.gradient(lambda x: 2 * x, lambda x: np.sum(x**2) / 3, x=x)
    assert {either.mistakes, *either.alternatives} == {("B times too large",), ("K times too large",)}
    assert either.verdict == "wrong: either B times too large, or K times too large, which are the same in numbers"


def test_two_mistakes_that_undo_each_other_are_no_explanation():
    x = np.random.default_rng(1).standard_normal((3, 3))  # three times too large and three times too small
    diagnosis = check.gradient(lambda x: 2 * x / 3 * (1 + 1e-11), lambda x: np.sum(x**2) / 3, x=x)
    assert not diagnosis.right
    assert diagnosis.mistakes == ()


def test_a_gradient_that_is_right_only_at_the_given_arguments_is_found_out():
    x = np.array([[1.0, -1.0, 0.5, -0.5]])  # of mean zero
    diagnosis = check.gradient(lambda x: x, lambda x: np.sum((x - np.mean(x)) ** 2) / 2, x=x)
    assert not diagnosis.right
    assert diagnosis.mistakes == ()
    assert "right at your own arguments" in diagnosis.details


def test_redraws_keep_signs_zeros_and_rows_that_sum_to_one():
    p = sm(np.random.default_rng(2).standard_normal((4, 5)))
    z = np.random.default_rng(3).standard_normal((4, 5))

    def forward(z, p):
        return -np.sum(p * np.log(naive_softmax(z)))  # the gradient is q − p only where p sums to one

    assert check.gradient(lambda z, p: sm(z) - p, forward, z=z, p=p).right
    assert check.gradient(lambda x: np.log(x) + 1, lambda x: np.sum(x * np.log(x)), x=np.array([0.5, 2.0, 3.0])).right


def test_a_kink_of_ones_own_function_is_not_judged():
    x = np.array([[0.0, 1.0, -1.0]])
    for relu in (lambda x: np.maximum(x, 0.0), lambda x: np.where(np.real(x) > 0, x, 0.0)):
        for slope in (0.0, 0.5, 1.0):
            backward = lambda dout, x, slope=slope: dout * np.where(x == 0, slope, x > 0)  # noqa: E731
            assert check.gradient(backward, relu, x=x).right
        assert not check.gradient(lambda dout, x: dout * (x < 0), relu, x=x).right


def test_arguments_of_other_kinds_are_passed_on_as_they_are():
    def forward(x, layers, name):
        return np.sum(np.tanh(x @ layers[0][0]) @ layers[1][0]) if name == "net" else None

    def gradient(x, layers, name):
        (A, _), (B, _) = layers
        h = np.tanh(x @ A)
        return np.sum(B, axis=1) * (1 - h**2) @ A.T

    assert check.gradient(gradient, forward, x=X, layers=[(W, b), (W.T, b)], name="net").right


def test_float32_arguments_of_a_forward_of_ones_own():
    diagnosis = check.gradient(
        lambda x: np.cos(x), lambda x: float(np.sum(np.sin(np.real(x)))), x=np.float32([0.5, 1.5])
    )
    assert diagnosis.right
    assert diagnosis.verdict.endswith("(float32)")


# ---- what it looks like ----------------------------------------------------------------------------------------------


def test_the_notebook_gets_the_verdict_and_a_small_table_and_nothing_unescaped():
    diagnosis = check.gradient(SOFT[0][1], "soft cross-entropy")
    page = diagnosis._repr_html_()
    assert "wrong: missing 1/T" in page
    assert page.count("<tr>") == 6  # the heads, and the five worst
    (where, yours, truth, ratio), *_ = diagnosis.rows()
    assert where.startswith("dz[")
    assert ratio == pytest.approx(yours / truth)
    for shown in (where, f"{yours:.6g}", f"{truth:.6g}", f"{ratio:.6g}"):
        assert shown in page

    def raises(dout, x):
        if len(x) != 3:
            raise ValueError("<script>")
        return dout * (x > 0)

    page = check.gradient(raises, "relu", x=[[1.0], [2.0], [3.0]])._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_terminal_gets_a_few_lines():
    lines = str(check.gradient(SOFT[0][1], "soft cross-entropy")).splitlines()
    assert lines[0] == "wrong: missing 1/T"
    assert lines[1] == "  missing 1/T: The chain rule through z/T leaves a factor 1/T in front."
    assert lines[-1] == "  truth: complex step through the textbook's forward pass; it tells 12 digits"
    assert len(lines) < 6


def test_the_plot_is_the_ratio_of_yours_to_the_truth():
    diagnosis = check.gradient(SOFT[0][1], "soft cross-entropy")
    points = diagnosis.plot().axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 1], points[0, 1], rtol=1e-9)
    assert len(points) == diagnosis.truth.size


def test_the_doctor_uses_no_global_random_state_and_gives_the_same_answer_twice():
    before = np.random.get_state()[1].copy()
    first, second = (str(check.gradient(SOFT[5][1], "soft cross-entropy", seed=3)) for _ in range(2))
    assert first == second
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_the_core_does_without_the_doctor_and_the_doctor_without_matplotlib():
    program = (
        "import sys; import minikd.training.loop; assert 'minikd.check' not in sys.modules; "
        "modules = set(sys.modules); "
        "[sys.modules.pop(name) for name in modules if name.startswith('minikd')]; "
        "import minikd.check; "
        "loaded = {name for name in sys.modules if name.startswith('minikd.')}; "
        "assert loaded == {'minikd.check', 'minikd.system.console', 'minikd.mistakes'}, loaded; "
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


if __name__ == "__main__":  # python tests/test_check.py 10000
    print(count_false_names(int(sys.argv[1])))
