"""Medians, spreads and ratios of the measurements; this file knows neither cells nor servers."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured quantity over the repeats of a run."""

    median: float
    least: float
    most: float

    @property
    def spread(self) -> float:
        """From the least to the most, as a share of the median."""
        return (self.most - self.least) / self.median if self.median else 0.0


def figure(values: Sequence[float]) -> Figure | None:
    if not values:
        return None
    return Figure(statistics.median(values), min(values), max(values))


def ratio(mine: Mapping[int, float], theirs: Mapping[int, float]) -> Figure | None:
    """Mine as a multiple of theirs, repeat by repeat: the two runs of a repeat follow each other directly, so
    that drift over a run cancels out."""
    both = [repeat for repeat in mine if theirs.get(repeat)]
    return figure([mine[repeat] / theirs[repeat] for repeat in both])


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of the values do not exceed; `ordered` is sorted, not empty."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[min(len(ordered), max(1, int(rank))) - 1]
