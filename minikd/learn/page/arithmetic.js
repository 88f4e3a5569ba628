"use strict";
// The arithmetic of minikd's core, for one case of K classes. The tests compare it with minikd's own, digit by digit.

window.minikd = (() => {
  const sum = (x) => x.reduce((total, one) => total + one, 0);
  const spread = (x) => Math.max(...x) - Math.min(...x);

  function zeroMean(x) {
    const mean = sum(x) / x.length;
    return x.map((one) => one - mean);
  }

  // log q_i = u_i − log Σ_j exp(u_j),  u_i = (z_i − max z)/T  (derivation D1.4)
  function logSoftmax(z, T = 1) {
    const top = Math.max(...z);
    const u = z.map((one) => (one - top) / T);
    const logTotal = Math.log(sum(u.map(Math.exp)));
    return u.map((one) => one - logTotal);
  }

  function softmax(z, T = 1) {
    return logSoftmax(z, T).map(Math.exp);
  }

  // −Σ p_i log p_i, in nats
  function entropy(z, T = 1) {
    return -sum(logSoftmax(z, T).map((log_p) => Math.exp(log_p) * log_p));
  }

  // C = −Σ p_i log q_i,  dz_i = (1/T)(q_i − p_i)  (derivations D2.1 and D2.4)
  function softCrossEntropy(z, v, T) {
    const log_q = logSoftmax(z, T);
    const q = log_q.map(Math.exp),
      p = softmax(v, T);
    return { C: -sum(p.map((one, i) => one * log_q[i])), dz: q.map((one, i) => (1 / T) * (one - p[i])) };
  }

  // C = −log q_y at T = 1,  dz_i = q_i − [i = y]  (derivation D2.6)
  function hardCrossEntropy(z, y) {
    const log_q = logSoftmax(z);
    return { C: -log_q[y], dz: log_q.map((one, i) => Math.exp(one) - (i === y ? 1 : 0)) };
  }

  // C = alpha T² C_soft + (1 − alpha) C_hard  (derivation D5.1); without T² if it is not balanced
  function distillationLoss(z, { v, y, T, alpha, balanced = true }) {
    const soft = softCrossEntropy(z, v, T),
      hard = hardCrossEntropy(z, y);
    const weight = balanced ? alpha * T ** 2 : alpha;
    return {
      C: weight * soft.C + (1 - alpha) * hard.C,
      dz: soft.dz.map((one, i) => weight * one + (1 - alpha) * hard.dz[i]),
    };
  }

  // (z_i − v_i)/(K T²), after the means are subtracted  (derivations D3.2 and D3.3)
  function limitGradient(z, v, T) {
    const difference = zeroMean(z.map((one, i) => one - v[i]));
    return difference.map((one) => one / (z.length * T ** 2));
  }

  // |(1/T)(q_i − p_i) − (z_i − v_i)/(K T²)| ≤ min(R_z² + R_v², R_{z−v} (R_z + R_v)) / (12√3 T³)  (derivation D3.33)
  function remainderBound(z, v, T) {
    const R_z = spread(z),
      R_v = spread(v),
      R_difference = spread(z.map((one, i) => one - v[i]));
    return Math.min(R_z ** 2 + R_v ** 2, R_difference * (R_z + R_v)) / (12 * Math.sqrt(3) * T ** 3);
  }

  // One step of gradient descent on the logits themselves.
  function descend(z, dz, rate = 1) {
    return z.map((one, i) => one - rate * dz[i]);
  }

  function shiftClass(z, k, s) {
    return z.map((one, i) => (i === k ? one + s : one));
  }

  function argmax(z) {
    return z.indexOf(Math.max(...z));
  }

  return {
    argmax,
    descend,
    distillationLoss,
    entropy,
    hardCrossEntropy,
    limitGradient,
    logSoftmax,
    remainderBound,
    shiftClass,
    softCrossEntropy,
    softmax,
    spread,
    zeroMean,
  };
})();
