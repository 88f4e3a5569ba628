"""Bugs in what the derivations prove beyond the core."""

from .planting import planted

MUTANTS = [
    *planted(
        "ensembles",
        "theory.ensembles",
        "test_ensembles.py",
        """
logits summed, not averaged: T divided by the number of members
- get_xp(v=v).sum(v, axis=0) / v.shape[0]
+ get_xp(v=v).sum(v, axis=0)

the members' probabilities at T = 1 averaged, whatever T is
- log_p = log_softmax(v, T)
+ log_p = log_softmax(v)

the way back to logits without T
- return T * (largest + xp.log(xp.sum(xp.exp(log_p - largest), axis=0) / M))
+ return largest + xp.log(xp.sum(xp.exp(log_p - largest), axis=0) / M)

logarithms averaged: the geometric mean under the arithmetic one's name
- return T * (largest + xp.log(xp.sum(xp.exp(log_p - largest), axis=0) / M))
+ return T * xp.sum(log_p, axis=0) / M

classes that every member rules out lost to underflow
- largest = xp.max(log_p, axis=0)
+ largest = 0 * xp.max(log_p, axis=0)
""",
    ),
    *planted(
        "dark knowledge",
        "theory.dark_knowledge",
        "test_dark_knowledge.py",
        """
the part on the true class with the other sign
- _total(true * (q - p))
+ _total(true * (p - q))

the push on the true class shared evenly among the wrong ones, not as q says
- true - q_hat
+ true - wrong / (z.shape[-1] - 1)

the part among the wrong classes with the weight of the true class
- _total(wrong * p)
+ _total(true * p)

the part among the wrong classes without its weight
- (1/T) * _total(wrong * p) * (q_hat - p_hat)
+ (1/T) * (q_hat - p_hat)

the true class among the wrong ones
- xp.where(is_wrong, v, -math.inf)
+ v

dark knowledge without the weight of the wrong classes
- return xp.sum(wrong * softmax(v, T), axis=-1) * (math.log(v.shape[-1] - 1) + negative_entropy)
+ return math.log(v.shape[-1] - 1) + negative_entropy

dark knowledge against all classes, not the wrong ones
- return xp.sum(wrong * softmax(v, T), axis=-1) * (math.log(v.shape[-1] - 1) + negative_entropy)
+ return xp.sum(wrong * softmax(v, T), axis=-1) * (math.log(v.shape[-1]) + negative_entropy)

wrong logits replaced as if T were 1
- v - T * wrong * (math.log(v.shape[-1] - 1) + _log_among_wrong(v, wrong, T))
+ v - wrong * (math.log(v.shape[-1] - 1) + _log_among_wrong(v, wrong, T))

each wrong class as likely as all of them were
- v - T * wrong * (math.log(v.shape[-1] - 1) + _log_among_wrong(v, wrong, T))
+ v - T * wrong * _log_among_wrong(v, wrong, T)
""",
    ),
    *planted(
        "limits",
        "limits",
        "test_limits.py",
        """
the bound with 6√3 in place of 12√3: true, and not sharp
- (12 * math.sqrt(3) * T**3)
+ (6 * math.sqrt(3) * T**3)

the bound falls as 1/T², not 1/T³
- (12 * math.sqrt(3) * T**3)
+ (12 * math.sqrt(3) * T**2)

the next term without its half
- 2 * z.shape[-1] * T**3
+ z.shape[-1] * T**3

the means not removed
- return z - _mean(xp, z)
+ return z

the term after the next without its sixth
- 6 * z.shape[-1]
+ z.shape[-1]

the term after the next with 2 in place of 3
- 3 * (z * _mean(xp, z * z) - v * _mean(xp, v * v))
+ 2 * (z * _mean(xp, z * z) - v * _mean(xp, v * v))

the term after the next without the mean of the cubes
- cubic - _mean(xp, z**3 - v**3)
+ cubic

an estimate from the next term only
- xp.maximum(from_second, xp.sqrt(from_third))
+ from_second

the paper's first order divided by K, whatever the logits' sum is
- total = u.shape[-1] + xp.sum(u, axis=-1, keepdims=True)
+ total = u.shape[-1] + 0 * xp.sum(u, axis=-1, keepdims=True)

the sufficient temperature without the number of classes
- z.shape[-1] * _product_of_spreads(xp, z, v)
+ _product_of_spreads(xp, z, v)

the bound that does not vanish near the teacher
- -xp.maximum(-sum_of_squares, -product)
+ sum_of_squares

the bound that vanishes, also where the other one is smaller
- -xp.maximum(-sum_of_squares, -product)
+ product

the larger of the two bounds
- -xp.maximum(-sum_of_squares, -product)
+ xp.maximum(sum_of_squares, product)

the spread of the student in place of that of the difference
- _spread(xp, z - v) * (R_z + R_v)
+ _spread(xp, z) * (R_z + R_v)
""",
    ),
    *planted(
        "priors",
        "priors",
        "test_priors.py",
        """
the shift taken away, not added
- float(s)
+ -float(s)

the log-odds against all classes, not against the others
- _log_sum_exp(z[:, ~inside])
+ _log_sum_exp(z)

the shift searched for on the wrong side of the odds
- -(odds + middle)
+ -(odds - middle)

the median case at the prior, not the mean
- q.mean() < prior
+ np.median(q) < prior

the search stopped early
- EPS * max(1.0, abs(low), abs(high))
+ 1e-6 * max(1.0, abs(low), abs(high))

the logarithm of the prior for its log-odds
- wanted = math.log(prior) - math.log1p(-prior)
+ wanted = math.log(prior)
""",
    ),
    *planted(
        "specialists",
        "theory.specialists",
        "test_specialists.py",
        """
the dustbin's own undersampling forgotten
- s = math.log(sampled / share) - math.log((1 - sampled) / (1 - share))
+ s = math.log(sampled / share)

the dustbin spread evenly, not in proportion to the answer
- log_softmax(log_q[:, ~inside])
+ -math.log((~inside).sum())

the dustbin's mass multiplied by the answer's, not shared out
- log_softmax(log_q[:, ~inside])
+ log_q[:, ~inside]

a specialist's classes taken in rising order
- spread[:, list(classes)] = log_own[:, : len(classes)]
+ spread[:, inside] = log_own[:, : len(classes)]

q and p swapped
- dz = np.sum(q - p, axis=0)
+ dz = np.sum(p - q, axis=0)

the mean of the models' gradients, not the sum
- dz = np.sum(q - p, axis=0)
+ dz = np.mean(q - p, axis=0)

the other direction without the softmax's average
- dz = q * (ratio - C[:, None])
+ dz = q * ratio

the generalist not asked
- arithmetic_mean(log_p, T=1.0)
+ arithmetic_mean(log_p[1:], T=1.0)

the two means mixed up
- geometric_mean(log_p) if reverse else arithmetic_mean(log_p, T=1.0)
+ arithmetic_mean(log_p, T=1.0) if reverse else geometric_mean(log_p)

stopped when the first case has arrived
- on.any()
+ on.all()

all specialists asked, whatever the generalist says
- [Specialist(classes, own[asked]) for classes, own in specialists if k in classes]
+ [Specialist(classes, own[asked]) for classes, own in specialists]
""",
    ),
]
