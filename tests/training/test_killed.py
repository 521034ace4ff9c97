"""A training that is killed in the middle, for real, goes on and ends with the same numbers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

LIBRARY = Path(__file__).parents[2] / "lib"
TRAIN = """
import sys, time, torch
from pathlib import Path
from memorization.data.augmentation.policies import augmentation
from memorization.data.labels import random_labels
from memorization.data.splits import memorized_split
from memorization.draws import generator
from memorization.models.networks import network
from memorization.training.batches import LabelledViews
from memorization.training.recipe import Recipe
from memorization.training.train import train

folder = Path(sys.argv[1])
split = memorized_split("digits", memorized=60)
images = split.memorized.floats()
labels = torch.stack([random_labels(60, 10, generator(seed, "labels")) for seed in (0, 1)])
networks = [network("small_cnn", hidden=[16], generator=generator(seed, "weights")) for seed in (0, 1)]
views = LabelledViews(images, labels, (0, 1), 10, augmentation("small_digits"))

def pace(done, epochs):
    (folder / "epoch").write_text(str(done))
    time.sleep(0.02)

saving = {"checkpoint": folder / "run.pt", "checkpoint_every": 5}
done = train(networks, views, "mse", Recipe(epochs=60, batch=20), progress=pace, **saving)
torch.save([n.state_dict() for n in done.networks], folder / "weights.pt")
done.history.to_csv(folder / "history.csv")
"""


def start(folder):
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", TRAIN, str(folder)], env=environment)


def test_a_killed_training_ends_as_an_undisturbed_one(tmp_path):
    assert start(tmp_path / "straight").wait(120) == 0
    lost = tmp_path / "lost"
    process = start(lost)
    deadline = time.monotonic() + 100
    while not (lost / "run.pt").exists() or int((lost / "epoch").read_text() or 0) < 23:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (lost / "weights.pt").exists()
    assert start(lost).wait(120) == 0
    for name in ("weights.pt", "history.csv"):
        assert (lost / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
