"""Bugs in the training loop: its batches, its randomness, its soft targets."""

from .planting import planted

MUTANTS = [
    *planted(
        "optimiser",
        "schedule",
        "test_optim.py",
        """
a warm-up whose first step is wasted on a rate of zero
- return (step + 1) / rise
+ return step / rise

a cosine that begins with the warm-up, not after it
- math.cos(math.pi * (step - rise) / (steps - rise))
+ math.cos(math.pi * step / steps)
""",
    ),
    *planted(
        "soft targets",
        "soft_targets",
        "test_train.py",
        """
any data set of the right length taken for the right one
- self.dataset != dataset.fingerprint
+ len(self.logits) != len(dataset)
""",
    ),
    *planted(
        "dropout",
        "batches",
        "test_train.py",
        """
the same mask at every step
- hash32(np.array(first, np.uint32) + step[:, None])
+ hash32(np.array(first, np.uint32) + 0 * step[:, None])

the same key for every layer
- (STREAMS.index("dropout"), layer)
+ (STREAMS.index("dropout"), 0)

every case of a batch drops the same units
- np.arange(batch_size * size, dtype=np.uint32).reshape(batch_size, size)
+ np.tile(np.arange(size, dtype=np.uint32), (batch_size, 1))

the share for inputs and the share for hidden units confused
- (config.drop_input, *[config.drop_hidden] * len(config.hidden))
+ (config.drop_hidden, *[config.drop_input] * len(config.hidden))
""",
    ),
    *planted(
        "training",
        "loop",
        "test_train.py",
        """
the schedule worked out and not used
- self._rates = [peak * factor for factor in factors]
+ self._rates = [peak for factor in factors]

the schedule begun again in each epoch
- [warmup_cosine(step, steps, config.warmup) for step in range(first, first + each)]
+ [warmup_cosine(step - first, each, config.warmup) for step in range(first, first + each)]

the configured momentum never passed on
- config.momentum
+ 0.9

the configured clip_norm never passed on
- config.clip_norm
+ None

momentum lost where a run is resumed
- arrays["v"]
+ np.zeros_like(arrays["v"])
""",
    ),
    *planted(
        "training",
        "batches",
        "test_train.py",
        """
every epoch in the same order
- stream(seed, name, epoch)
+ stream(seed, name)
""",
    ),
    *planted(
        "training",
        "config",
        "test_train.py",
        """
one stream of randomness for every use: the order repeats what drew the initial weights
- (STREAMS.index(name), epoch)
+ (epoch,)
""",
    ),
    *planted(
        "jitter",
        "batches",
        "test_train.py",
        """
images moved up and to the left alone
- rng.integers(0, 2 * self.config.jitter + 1, size=(2, self.steps * self.config.batch_size))
+ rng.integers(self.config.jitter, 2 * self.config.jitter + 1, size=(2, self.steps * self.config.batch_size))

never moved as far one way as the other
- rng.integers(0, 2 * self.config.jitter + 1, size=(2, self.steps * self.config.batch_size))
+ rng.integers(0, 2 * self.config.jitter, size=(2, self.steps * self.config.batch_size))

one shift for all images of an epoch
- rng.integers(0, 2 * self.config.jitter + 1, size=(2, self.steps * self.config.batch_size))
+ rng.integers(0, 2 * self.config.jitter + 1, size=(2, 1)).repeat(self.steps * self.config.batch_size, axis=1)

images moved along the diagonal alone
- down * self.width + right * self.pixel
+ down * self.width + down * self.pixel

rows of a padded image counted without its border
- self.width = cols + 2 * border
+ self.width = cols
""",
    ),
    *planted(
        "jitter",
        "batches",
        "test_transfer_sets.py",
        """
red moved to where green was
- down * self.width + right * self.pixel
+ down * self.width + right
""",
    ),
    *planted(
        "transfer set",
        "batches",
        "test_transfer_sets.py",
        """
labels that are not there given a weight
- np.all(np.equal(config.alpha, 1))
+ np.any(np.equal(config.alpha, 1))
""",
    ),
    *planted(
        "jitter",
        "data.jitter",
        "test_data.py",
        """
images wrapped round their edges
- padded = np.zeros((count, rows + 2 * by, cols + 2 * by, *channels), dtype=np.uint8)
+ padded = np.pad(images, ((0, 0), (by, by), (by, by)), mode="wrap")

edges smeared outwards, where zeros should enter
- padded = np.zeros((count, rows + 2 * by, cols + 2 * by, *channels), dtype=np.uint8)
+ padded = np.pad(images, ((0, 0), (by, by), (by, by)), mode="edge")
""",
    ),
    *planted(
        "soft targets",
        "batches",
        "test_train.py",
        """
soft targets of unmoved images used for jittered ones
- if config.jitter:
-     ...
""",
    ),
    *planted(
        "soft targets",
        "training.teacher",
        "test_train.py",
        """
probabilities stored where logits belong
- z = device.get(logits(teacher, dataset, device))
+ z = device.get(logits(teacher, dataset, device))
+ z = 2.718281828459045**z
+ z = z / z.sum(axis=-1, keepdims=True)

logits stored with a temperature baked in
- z = device.get(logits(teacher, dataset, device))
+ z = device.get(logits(teacher, dataset, device)) / 8.0
""",
    ),
    *planted(
        "soft targets",
        "answers",
        "test_train.py",
        """
dropout left on in the teacher
- z, _ = mlp_forward(held.inputs(start, stop, dtype), layers)
+ rng = np.random.default_rng()
+ halved = [(2 * W * (rng.random((W.shape[-2], 1)) < 0.5), b) for W, b in layers[1:]]
+ z, _ = mlp_forward(held.inputs(start, stop, dtype), [layers[0], *halved])
""",
    ),
    *planted(
        "population",
        "loop",
        "test_train.py",
        """
the first student's learning rate for all
- self._all_rates[i, ...]
+ self._all_rates[i, :1]

the first student's initial weights for all
- fresh[i % len(fresh)]
+ fresh[0]
""",
    ),
    *planted(
        "population",
        "batches",
        "test_train.py",
        """
the first student's batches for all
- stream(seed, name, epoch)
+ stream(self.config.seeds[0], name, epoch)

the first student's dropout for all
- np.random.SeedSequence(seed, spawn_key=(STREAMS.index("dropout"), layer))
+ np.random.SeedSequence(self.config.seeds[0], spawn_key=(STREAMS.index("dropout"), layer))

the students' batches shuffled into one another
- np.concatenate(drawn, axis=1)
+ np.stack(drawn, axis=-1).reshape(self.steps, -1)
""",
    ),
    *planted(
        "max-norm",
        "readable",
        "test_train.py",
        """
the output layer limited too
- state.layers[:-1]
+ state.layers

only the first layer limited
- state.layers[:-1]
+ state.layers[:1]

the weights limited before the step, not after it
- for block in _blocks(state.parameters, state.velocity, state.gradient):
-     momentum_step(*block, learning_rate=learning_rate, momentum=momentum)
+ if max_norm is not None:
+     for W, _ in state.layers[:-1]:
+         limit_norm(W, max_norm)
+ max_norm = None
+ for block in _blocks(state.parameters, state.velocity, state.gradient):
+     momentum_step(*block, learning_rate=learning_rate, momentum=momentum)
""",
    ),
    *planted(
        "training",
        "readable",
        "test_train.py",
        """
each element of the gradient clipped by itself, not its norm
- learning_rate = learning_rate * clip_factor(state.gradient, clip_norm)
+ state.gradient[...] = get_xp(g=state.gradient).clip(state.gradient, -clip_norm, clip_norm)

the parameters between two blocks never updated
- range(0, P, BLOCK)
+ range(0, P, BLOCK + 1)

the parameters after the last full block never updated
- range(0, P, BLOCK)
+ range(0, P - BLOCK + 1, BLOCK)

the input's dropout drawn and never applied
- x, _ = dropout_forward(x, dropout[0].keep, dropout[0].drop)

labels left in order while the images are shuffled
- take(source.y, draw.n, axis=0)
+ take(source.y, get_xp(n=draw.n).arange(draw.n.shape[0]) % source.y.shape[0], axis=0)
""",
    ),
    *planted(
        "soft targets",
        "readable",
        "test_train.py",
        """
soft targets left in order while the images are shuffled
- take(source.V, draw.n, axis=0)
+ take(source.V, get_xp(n=draw.n).arange(draw.n.shape[0]) % source.y.shape[0], axis=0)
""",
    ),
]
