"""Bugs in the layers, the network and the optimiser."""

from .planting import planted

MUTANTS = [
    *planted(
        "layers",
        "layers",
        "test_layers.py",
        """
the bias forgotten
- out += b[..., None, :]

dW from a reshaped x, where it should be transposed
- multiply(x.mT, dout, out=dW_out)
+ multiply(xp.reshape(x, x.mT.shape), dout, out=dW_out)

dx through a reshaped W, where it should be transposed
- dout @ W.mT
+ dout @ xp.reshape(W, W.mT.shape)

dW averaged over the cases, which the cost did already
- multiply(x.mT, dout, out=dW_out)
+ multiply(x.mT / x.shape[-2], dout, out=dW_out)

db averaged over the cases, which the cost did already
- db = xp.sum(dout, axis=-2)
+ db = xp.mean(dout, axis=-2)

db added to what the last step left there
- db_out[...] = db
+ db_out += db

ReLU backward without its mask
- return dout * xp.astype(out > 0, dout.dtype)
+ return dout

ReLU backward with the mask inverted
- return dout * xp.astype(out > 0, dout.dtype)
+ return dout * xp.astype(out <= 0, dout.dtype)

ReLU backward with the mask of the gradient, not of the output
- return dout * xp.astype(out > 0, dout.dtype)
+ return dout * xp.astype(dout > 0, dout.dtype)

ReLU written over its input
- out = xp.maximum(x, 0.0)
+ out = xp.maximum(x, 0.0, out=x)

ReLU backward written over the gradient that came in
- return dout * xp.astype(out > 0, dout.dtype)
+ dout *= xp.astype(out > 0, dout.dtype)
+ return dout
""",
    ),
    *planted(
        "network",
        "mlp",
        "test_mlp.py",
        """
initial weights of variance 1/D, as if there were no ReLU
- math.sqrt(2 / W.shape[-2])
+ math.sqrt(1 / W.shape[-2])

initial weights scaled by the units that they lead to
- math.sqrt(2 / W.shape[-2])
+ math.sqrt(2 / W.shape[-1])

initial weights scaled by the variance, not by its root
- math.sqrt(2 / W.shape[-2])
+ (2 / W.shape[-2])

a ReLU on the logits
- return h, caches
+ return relu_forward(h)[0], caches

no ReLU after the first layer
@ mlp_forward
- i > 0
+ i > 1

ReLU left out of the backward pass
- dh = relu_backward(dh, relu_cache)
+ pass

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
        "layers",
        "test_layers.py",
        """
survivors not scaled up
- scale *= 1 / (1 - drop)

survivors scaled by 1/drop: keep and drop confused
- scale *= 1 / (1 - drop)
+ scale *= 1 / drop if drop else 1.0

the dropped units kept and the kept ones dropped
- scale = xp.astype(keep, x.dtype)
+ scale = xp.astype(~keep, x.dtype)

the backward pass without the scale
- return _sum_over_students(dout * scale, ndim)
+ return _sum_over_students(dout * xp.astype(scale > 0, dout.dtype), ndim)

the backward pass without the mask
- return _sum_over_students(dout * scale, ndim)
+ return _sum_over_students(dout + 0 * scale, ndim)

a mask that keeps the share it should drop
- hash32(counters ^ key) >= drop_threshold(drop)
+ hash32(counters ^ key) < drop_threshold(drop)

the same mask whatever the key
- hash32(counters ^ key)
+ hash32(counters ^ (key ^ key))
""",
    ),
    *planted(
        "max-norm",
        "optim",
        "test_optim.py",
        """
the square of the length taken for the length
- norm = xp.sqrt(xp.sum(W * W, axis=-2, keepdims=True))
+ norm = xp.sum(W * W, axis=-2, keepdims=True)

max_norm taken for the square of a length
- W *= float(max_norm) / xp.maximum(norm, float(max_norm))
+ W *= max_norm**0.5 / xp.maximum(norm, max_norm**0.5)

the weights that leave a unit, not those that enter it
- norm = xp.sqrt(xp.sum(W * W, axis=-2, keepdims=True))
+ norm = xp.sqrt(xp.sum(W * W, axis=-1, keepdims=True))

one length for the whole layer
- norm = xp.sqrt(xp.sum(W * W, axis=-2, keepdims=True))
+ norm = xp.sqrt(xp.sum(W * W, axis=(-2, -1), keepdims=True))

short columns stretched to max_norm too
- W *= float(max_norm) / xp.maximum(norm, float(max_norm))
+ W *= float(max_norm) / (norm + 1e-30)

each weight clipped by itself, which turns the column
- W *= float(max_norm) / xp.maximum(norm, float(max_norm))
+ W[...] = xp.minimum(xp.maximum(W, -float(max_norm)), float(max_norm))
""",
    ),
    *planted(
        "optimiser",
        "optim",
        "test_optim.py",
        """
a step uphill
- v -= learning_rate * g
+ v += learning_rate * g

momentum with the wrong sign
- v *= momentum
+ v *= -momentum

(1 − momentum) on the gradient: steps ten times too short
- v -= learning_rate * g
+ v -= (1 - momentum) * learning_rate * g

the learning rate forgotten
- v -= learning_rate * g
+ v -= g

the learning rate outside the velocity, which matters once it changes
- v -= learning_rate * g
- p += v
+ v -= g
+ p += learning_rate * v

Nesterov's look ahead, where the classical form is promised
- p += v
+ p += momentum * v - learning_rate * g

the velocity in a new array, so that the caller's never changes
- v *= momentum
- v -= learning_rate * g
+ v = momentum * v - learning_rate * g

weight decay that nobody asked for
- v -= learning_rate * g
+ v -= learning_rate * (g + 1e-4 * p)

the gradient scaled in place
- v -= learning_rate * g
+ g *= learning_rate
+ v -= g

clipping that lengthens long gradients
- float(clip_norm) / xp.maximum(norm, float(clip_norm))
+ xp.maximum(norm, float(clip_norm)) / float(clip_norm)

clipping that stretches short gradients too
- float(clip_norm) / xp.maximum(norm, float(clip_norm))
+ float(clip_norm) / (norm + 1e-30)

clipping by the square of the norm
- norm = xp.sqrt(square[..., 0])
+ norm = square[..., 0]
""",
    ),
    *planted(
        "population",
        "layers",
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
        "optim",
        "test_optim.py",
        """
every student clipped by the norm of them all
- norm = xp.sqrt(square[..., 0])
+ norm = xp.sqrt(square[..., 0] * 0 + xp.sum(square))
""",
    ),
]
