"""Bugs in the checks of arguments, and in when a run makes them."""

from .planting import planted

MUTANTS = [
    *planted(
        "checks",
        "core.guard",
        "test_guard.py",
        """
rules that are declared and never run
- for name, rule in rules.items():
-     given[name] = rule(name, given[name], given)

the first rule alone
- rules.items()
+ list(rules.items())[:1]

what came passed on, not what the rule made of it
- given[name] = rule(name, given[name], given)
+ rule(name, given[name], given)

everything checked again inside a guarded function
@ guard
- _unguarded.set(True)
+ _unguarded.set(False)

no check any more after the first call
@ guard
- _unguarded.reset(token)
+ None

no check any more after unguarded()
- _unguarded.reset(self._token)
+ None

no check any more after an exception inside unguarded()
- _unguarded.reset(self._token)
+ if raised == (None, None, None):
+     _unguarded.reset(self._token)

checks turned on again by unguarded(False) inside unguarded()
- self._when or _unguarded.get()
+ self._when

a temperature of zero let through
- (T > 0) & (math.inf > T)
+ (T >= 0) & (math.inf > T)

an infinite temperature let through
- (T > 0) & (math.inf > T)
+ T > 0

a weight above one let through
- (alpha >= 0) & (alpha <= 1)
+ alpha >= 0

a label equal to K let through
- low < 0 or high >= K
+ low < 0 or high > K

only the first student's number checked
- get_xp(**{name: array}).all(holds(array))
+ holds(array.ravel()[0])

numbers of a device read, which waits for it
- on_host(array) and not get_xp(**{name: array}).all(holds(array))
+ not bool(get_xp(**{name: array}).max(array) > 0)

a dtype compared with no other
- get_float_xp(**{first: given[first], name: value})
+ get_float_xp(**{name: value})

a batch of soft targets that broadcasts over the cases
- _fits(v.shape, shape, own=2)
+ _fits(v.shape, shape, own=0)

a population that does not broadcast let through
- return np.broadcast_shapes(shape, target) == target
+ return True
""",
    ),
    *planted(
        "checks",
        "loop",
        "test_guard.py",
        """
every step checked
- unguarded(self._checked)
+ unguarded(False)

no step checked
- unguarded(self._checked)
+ unguarded(True)

a resumed run never checked
- unguarded(self._checked)
+ unguarded(step > 0)
""",
    ),
    *planted(
        "runs",
        "loop",
        "test_run.py",
        """
a run that begins again where it should go on
- range(len(self.history), self.config.epochs)
+ range(self.config.epochs)

a record that is told and not kept
- self.history.append(record)
- yield record
+ pass
+ yield record

a resumed run without its history
- self.history = history

the weights of a checkpoint left on the shelf
- self.state = State(self.sizes, self.device.put(arrays["p"]), self.device.put(arrays["v"]))
""",
    ),
    *planted(
        "checks",
        "core.layers",
        "test_layers.py",
        """
a gradient of another batch that broadcasts
- dout != out
+ len(dout) != len(out)

a gradient that a mask broadcasts to
- scale[-2:] != dout[-2:]
+ scale[-1:] != dout[-1:]
""",
    ),
]
