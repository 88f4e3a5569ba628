"""What --tf32 costs in accuracy, found out on a CPU: students trained with products as tensor cores read their factors.

    python -m benchmarks.tf32 [--seeds 5]

trains the quick preset's student alone, twice from each seed: in float32, and with both factors of every product
rounded to the 10 bits of mantissa that TF32 has (sums stay float32, as there). Prints the test errors of each pair, and
how far one product and the trained weights move; writes `benchmarks/results/tf32.json`. About two minutes a seed on two
cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minikd.data.images import load_mnist
from minikd.engines.device import CPU, Device
from minikd.engines.machine import machine
from minikd.system.cli import Parser, start
from minikd.training.answers import count_errors
from minikd.training.config import TrainConfig
from minikd.training.loop import train
from minikd.training.runs import write_json

RESULT = Path(__file__).parent / "results" / "tf32.json"
STUDENT = TrainConfig(hidden=(800, 800), epochs=6, learning_rate=0.2, clip_norm=1.0)


def rounded(a: np.ndarray) -> np.ndarray:
    """float32 with the last 13 bits of its mantissa rounded away, halves to even; what is not finite stays as it is."""
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
    kept = (bits + 0xFFF + ((bits >> 13) & 1)) & 0xFFFFE000
    return np.where(np.isfinite(a), kept.view(np.float32), a)


class TF32(np.ndarray):
    """An array whose products are TF32's; whatever is computed from it is one too."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **settings: Any) -> Any:
        plain = [np.asarray(one) if isinstance(one, np.ndarray) else one for one in inputs]
        if ufunc is np.matmul:
            plain = [rounded(one) for one in plain]
        if out is not None:
            settings["out"] = tuple(map(np.asarray, out))
        result = getattr(ufunc, method)(*plain, **settings)
        return result.view(TF32) if isinstance(result, np.ndarray) else result


EMULATED = Device("cpu, TF32 emulated", np, put=lambda a: np.asarray(a).view(TF32), get=np.asarray, host=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Train the pairs, print, write."""
    parser = Parser("tf32", __doc__ or "", package="benchmarks")
    parser.add_argument("--seeds", type=int, default=5, help="pairs to train [5]")
    seeds = range(parser.parse_args(argv).seeds)
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((800, 800)).astype(np.float32) for _ in range(2))
    product = np.linalg.norm(a @ b - rounded(a) @ rounded(b)) / np.linalg.norm(a @ b)
    print(f"a product of 800 × 800 normal numbers moves by {product:.1e} of its norm")
    train_set, test_set = load_mnist()
    rows = []
    for seed in seeds:
        networks = [train(replace(STUDENT, seed=seed), train_set, device=device) for device in (CPU, EMULATED)]
        errors = [count_errors(network, test_set) for network in networks]
        moved = np.linalg.norm(networks[1].flat - networks[0].flat) / np.linalg.norm(networks[0].flat)
        rows.append({"seed": seed, "float32": errors[0], "tf32": errors[1], "weights_moved": float(f"{moved:.3g}")})
        print(f"seed {seed}: {errors[0]} errors in float32, {errors[1]} in TF32, weights {moved:.1%} apart", flush=True)
    differences = [row["tf32"] - row["float32"] for row in rows]
    mean, sd = float(np.mean(differences)), float(np.std(differences, ddof=1)) if len(rows) > 1 else None
    print(f"TF32 made {mean:+.1f} errors more" + (f", sd of the pairs {sd:.1f}" if sd is not None else ""))
    record = {"command": f"python -m benchmarks.tf32 --seeds {len(rows)}", "config": STUDENT.record()}
    record |= {"machine": machine(CPU), "product_moved": float(f"{product:.3g}"), "rows": rows, "mean": mean, "sd": sd}
    write_json(RESULT, record)


if __name__ == "__main__":
    start(main)
