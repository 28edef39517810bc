"""Train a small neural network on two interleaved half-moons, in plain Python, and print its loss.

    python train.py --epochs 10

Exits with 1 when the training diverges, which `--learning-rate 1000` brings about.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Iterator

Point = tuple[float, float]
HIDDEN_UNITS = 8
# A coin that is tossed loses 0.69: far above that, training has made things worse, not better.
DIVERGED_LOSS = 10.0


def half_moons(count: int, source: random.Random) -> Iterator[tuple[Point, int]]:
    """Points of two noisy half-circles that no straight line separates, each with its class: 0 or 1."""
    for index in range(count):
        angle = source.uniform(0, math.pi)
        noise = source.gauss(0, 0.1), source.gauss(0, 0.1)
        if index % 2:
            yield (1 - math.cos(angle) + noise[0], 0.5 - math.sin(angle) + noise[1]), 1
        else:
            yield (math.cos(angle) + noise[0], math.sin(angle) + noise[1]), 0


class Network:
    """One hidden layer of tanh units and a logistic output, trained by stochastic gradient descent."""

    def __init__(self, source: random.Random) -> None:
        self.hidden = [[source.gauss(0, 1) for _ in range(3)] for _ in range(HIDDEN_UNITS)]
        self.output = [source.gauss(0, 1) for _ in range(HIDDEN_UNITS + 1)]

    def activations(self, point: Point) -> list[float]:
        """What the hidden units answer to a point."""
        return [math.tanh(w[0] * point[0] + w[1] * point[1] + w[2]) for w in self.hidden]

    def logit(self, activations: list[float]) -> float:
        """The output before the logistic function."""
        return sum(w * a for w, a in zip(self.output, activations, strict=False)) + self.output[-1]

    def learn(self, point: Point, label: int, rate: float) -> None:
        """Take one gradient step on the cross-entropy of one point."""
        activations = self.activations(point)
        error = logistic(self.logit(activations)) - label
        for unit, activation in enumerate(activations):
            slope = error * self.output[unit] * (1 - activation * activation)
            self.output[unit] -= rate * error * activation
            for index, value in enumerate((*point, 1.0)):
                self.hidden[unit][index] -= rate * slope * value
        self.output[-1] -= rate * error


def logistic(value: float) -> float:
    """The logistic function, without overflow on either side."""
    small = math.exp(-abs(value))
    return (1 if value >= 0 else small) / (1 + small)


def evaluate(network: Network, points: list[tuple[Point, int]]) -> tuple[float, float]:
    """The mean cross-entropy over `points`, and the fraction of them that is classified rightly."""
    loss = right = 0.0
    for point, label in points:
        logit = network.logit(network.activations(point))
        loss += max(logit, 0) - logit * label + math.log1p(math.exp(-abs(logit)))
        right += (logit > 0) == bool(label)
    return loss / len(points), right / len(points)


def main() -> int:
    """Train, printing a line an epoch; return the exit status."""
    parser = argparse.ArgumentParser(description="Train a small network on two half-moons.")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the data")
    parser.add_argument("--learning-rate", type=float, default=0.1, help="the length of a step")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same losses")
    options = parser.parse_args()

    source = random.Random(options.seed)
    points = list(half_moons(400, source))
    held_out = list(half_moons(200, source))
    network = Network(source)
    for epoch in range(1, options.epochs + 1):
        source.shuffle(points)
        for point, label in points:
            network.learn(point, label, options.learning_rate)
        loss, accuracy = evaluate(network, held_out)
        print(f"epoch {epoch}/{options.epochs}  loss {loss:.4f}  accuracy {accuracy:.1%}", flush=True)
        if not loss < DIVERGED_LOSS:  # nor is "not a number" less than it
            print("The training diverges: lower --learning-rate.", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
