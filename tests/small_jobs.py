"""Jobs of the paper's experiments that take a moment."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from threadpoolctl import threadpool_limits

from minikd.paper.lab import executor as engine
from minikd.paper.lab.jobs import Store
from minikd.paper.tasks.networks import Data, training
from minikd.training.config import TrainConfig

SMALL = Data(first=200)
TINY = TrainConfig(hidden=(8,), epochs=1, batch_size=20, learning_rate=0.1)


def a_teacher(seed=0):
    return training("teacher", replace(TINY, seed=seed), SMALL, keep=("train", "test"))


def a_student(teacher, data=SMALL, **changes):
    config = replace(TINY, alpha=0.5, T=4.0, **changes)
    return training("student", config, data, teacher=teacher, keep=("test",))


def do(jobs, folder, threads=1, stage=None):
    store, done = Store(folder), []
    with threadpool_limits(1), ThreadPoolExecutor(threads) as executor:  # which lifts it again, for other tests
        engine.run(
            jobs, store, executor, workers=lambda: threads, stage=stage, on_done=lambda job: done.append(job.key)
        )
    return store, done


def damage(path):
    """Change the last byte of a file."""
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
