"""Bugs in the layers, the network and the optimiser."""

from .planting import planted

MUTANTS = [
    *planted(
        "layers",
        "core.layers",
        "test_layers.py",
        """
the bias forgotten
- out += b[..., None, :]

dW from a reshaped x, where it should be transposed
- write_into(dW_out, xp.matmul, x.mT, dout)
+ write_into(dW_out, xp.matmul, xp.reshape(x, x.mT.shape), dout)

dx through a reshaped W, where it should be transposed
- dout @ W.mT
+ dout @ xp.reshape(W, W.mT.shape)

dW averaged over the cases, which the cost did already
- write_into(dW_out, xp.matmul, x.mT, dout)
+ write_into(dW_out, xp.matmul, x.mT / x.shape[-2], dout)

db averaged over the cases, which the cost did already
- write_into(db_out, xp.sum, dout, axis=-2)
+ write_into(db_out, xp.mean, dout, axis=-2)

db added to what the last step left there
- db = write_into(db_out, xp.sum, dout, axis=-2)
+ db = xp.sum(dout, axis=-2)
+ if db_out is not None:
+     db_out += db

ReLU backward without its mask
- return write_into(out, xp.multiply, dout, mask)
+ return dout

ReLU backward with the mask inverted
- cache > 0
+ cache <= 0

ReLU backward with the mask of the gradient, not of the output
- cache > 0
+ dout > 0

ReLU written over its input
- write_into(out, get_xp(x=x).maximum, x, 0.0)
+ write_into(x, get_xp(x=x).maximum, x, 0.0)

ReLU backward written over the gradient that came in
- return write_into(out, xp.multiply, dout, mask)
+ dout *= mask
+ return dout
""",
    ),
    *planted(
        "network",
        "core.mlp",
        "test_mlp.py",
        """
initial weights of variance 1/D, as if there were no ReLU
- math.sqrt(2 / len(W))
+ math.sqrt(1 / len(W))

initial weights scaled by the units that they lead to
- math.sqrt(2 / len(W))
+ math.sqrt(2 / W.shape[-1])

initial weights scaled by the variance, not by its root
- math.sqrt(2 / len(W))
+ 2 / len(W)

a ReLU on the logits
- return h, caches
+ return relu_forward(h)[0], caches

no ReLU after the first layer
@ mlp_forward
- i > 0
+ i > 1

ReLU left out of the backward pass
- dh = relu_backward(dh, relu_cache, out=dh)

dropout left out of the backward pass
- dh = dropout_backward(dh, dropout_cache)
+ pass

gradients from the last layer to the first
- return gradients[::-1], dh
+ return gradients, dh

a bias that shares its memory with the next layer's weights
- start += D * H + H
+ start += D * H
""",
    ),
    *planted(
        "dropout",
        "core.layers",
        "test_layers.py",
        """
survivors not scaled up
- scale *= 1 / (1 - drop)

survivors scaled by 1/drop: keep and drop confused
- scale *= 1 / (1 - drop)
+ scale *= 1 / drop if drop else 1.0

the dropped units kept and the kept ones dropped
- get_xp(x=x).astype(keep, x.dtype)
+ get_xp(x=x).astype(~keep, x.dtype)

the backward pass without the scale
- dout * scale
+ dout * get_xp(dout=dout).astype(scale > 0, dout.dtype)

the backward pass without the mask
- dout * scale
+ dout + 0 * scale
""",
    ),
    *planted(
        "max-norm",
        "core.optim",
        "test_optim.py",
        """
the square of the length taken for the length
- norm = xp.sqrt(xp.sum(W * W, axis=-2, keepdims=True))
+ norm = xp.sum(W * W, axis=-2, keepdims=True)

max_norm taken for the square of a length
- W *= max_norm / xp.maximum(norm, max_norm)
+ W *= max_norm**0.5 / xp.maximum(norm, max_norm**0.5)

the weights that leave a unit, not those that enter it
- norm = xp.sqrt(xp.sum(W * W, axis=-2, keepdims=True))
+ norm = xp.sqrt(xp.sum(W * W, axis=-1, keepdims=True))

one length for the whole layer
- norm = xp.sqrt(xp.sum(W * W, axis=-2, keepdims=True))
+ norm = xp.sqrt(xp.sum(W * W, axis=(-2, -1), keepdims=True))

short columns stretched to max_norm too
- max_norm / xp.maximum(norm, max_norm)
+ max_norm / (norm + 1e-30)

each weight clipped by itself, which turns the column
- W *= max_norm / xp.maximum(norm, max_norm)
+ W[...] = xp.minimum(xp.maximum(W, -max_norm), max_norm)
""",
    ),
    *planted(
        "optimiser",
        "core.optim",
        "test_optim.py",
        """
a step uphill
- velocity -= learning_rate * gradient
+ velocity += learning_rate * gradient

momentum with the wrong sign
- velocity *= momentum
+ velocity *= -momentum

(1 − momentum) on the gradient: steps ten times too short
- velocity -= learning_rate * gradient
+ velocity -= (1 - momentum) * learning_rate * gradient

the learning rate forgotten
- velocity -= learning_rate * gradient
+ velocity -= gradient

the learning rate outside the velocity, which matters once it changes
- velocity -= learning_rate * gradient
- parameters += velocity
+ velocity -= gradient
+ parameters += learning_rate * velocity

Nesterov's look ahead, where the classical form is promised
- parameters += velocity
+ parameters += momentum * velocity - learning_rate * gradient

the velocity in a new array, so that the caller's never changes
- velocity *= momentum
- velocity -= learning_rate * gradient
+ velocity = momentum * velocity - learning_rate * gradient

weight decay that nobody asked for
- velocity -= learning_rate * gradient
+ velocity -= learning_rate * (gradient + 1e-4 * parameters)

the gradient scaled in place
- velocity -= learning_rate * gradient
+ gradient *= learning_rate
+ velocity -= gradient

clipping that lengthens long gradients
- clip_norm / xp.maximum(norm, clip_norm)
+ xp.maximum(norm, clip_norm) / clip_norm

clipping that stretches short gradients too
- clip_norm / xp.maximum(norm, clip_norm)
+ clip_norm / (norm + 1e-30)

clipping by the square of the norm
- norm = xp.sqrt(square[..., 0])
+ norm = square[..., 0]
""",
    ),
    *planted(
        "population",
        "core.layers",
        "test_layers.py",
        """
the gradient of a shared input not summed over the students
- return dx if dx.ndim == ndim else get_xp(dx=dx).sum(dx, axis=tuple(range(dx.ndim - ndim)))
+ return dx

the gradient of a shared input averaged over the students
- get_xp(dx=dx).sum(dx, axis=tuple(range(dx.ndim - ndim)))
+ get_xp(dx=dx).mean(dx, axis=tuple(range(dx.ndim - ndim)))
""",
    ),
    *planted(
        "population",
        "core.optim",
        "test_optim.py",
        """
every student clipped by the norm of them all
- norm = xp.sqrt(square[..., 0])
+ norm = xp.sqrt(square[..., 0] * 0 + xp.sum(square))
""",
    ),
    *planted(
        "dropout",
        "core.masks",
        "test_layers.py",
        """
a mask that keeps the share it should drop
- hash32(counters ^ key) >= drop_threshold(drop)
+ hash32(counters ^ key) < drop_threshold(drop)

the same mask whatever the key
- hash32(counters ^ key)
+ hash32(counters ^ (key ^ key))
""",
    ),
]
