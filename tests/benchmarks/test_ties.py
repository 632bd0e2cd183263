"""A difference between engines is called a tie only if there is evidence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from torch import nn

from benchmarks import agreement as agreements
from benchmarks import ties
from benchmarks.agreement import bordered_positions, compare_engines
from benchmarks.ties import Query, Witness, explain, on_the_threshold

TARGET = np.array([0.0, 0.0, 10.0, 10.0])
QUERY = Query(label=1, iou_thr=0.5)


@pytest.fixture(autouse=True)
def whole_passes_do_not_round(monkeypatch):
    """The engines here have no network to run in float64."""
    monkeypatch.setattr(agreements, 'own_rounding', lambda full, positions: 0.0)


def outcome(*boxes):
    """Detections from (IoU with TARGET, score, label)."""
    return InstanceData(
        bboxes=torch.tensor([[0, 0, 10, 10 * iou] for iou, _, _ in boxes]).reshape(-1, 4),
        scores=torch.tensor([score for _, score, _ in boxes]),
        labels=torch.tensor([label for _, _, label in boxes]),
    )


def test_a_box_on_either_side_of_the_iou_threshold_is_a_tie():
    counted = outcome((0.50001, 0.9, 1), (0.8, 0.4, 1))
    missed = outcome((0.49999, 0.9, 1), (0.8, 0.4, 1))
    assert on_the_threshold([counted, missed], TARGET, QUERY) == pytest.approx(0.5, abs=2e-5)


def test_a_box_near_the_threshold_that_does_not_explain_the_difference_is_no_tie():
    counted = outcome((0.50001, 0.3, 1), (0.8, 0.9, 1))
    missed = outcome((0.49999, 0.3, 1), (0.8, 0.4, 1))
    assert on_the_threshold([counted, missed], TARGET, QUERY) is None


def test_a_box_clear_of_the_threshold_or_of_another_label_is_no_tie():
    counted = outcome((0.51, 0.9, 1), (0.5, 0.9, 0))
    missed = outcome((0.49, 0.9, 1), (0.5, 0.9, 0))
    assert on_the_threshold([counted, missed], TARGET, QUERY) is None


class Head(nn.Module):
    """Returns its input: the logits of two candidates."""

    def forward(self, logits):
        return (logits,)


class Detector(nn.Module):
    """A detector with this head; only the first of its two candidates is on the object."""

    def __init__(self):
        super().__init__()
        self.bbox_head = Head()


class Engine:
    """Keeps the better of two candidates with the logits ``logits(batch_size, threads)``."""

    def __init__(self, logits, fault=0.0):
        self.model = Detector()
        self.pixels = np.zeros((10, 10, 4), np.uint8)
        self.batch_size = 8
        self.logits = logits
        self.fault = fault

    def order(self, positions):
        return np.arange(len(positions))[::-1].copy()

    def notes(self):
        return {'whole_maps': [], 'macs_saved': 0.5}

    def detect(self, positions):
        given = torch.tensor(self.logits(self.batch_size, torch.get_num_threads()))
        given = given.repeat(len(positions), 1)
        given[:, 0] += self.fault
        (logits,) = self.model.bbox_head(given)
        found = []
        for (row, col), (here, elsewhere) in zip(positions, logits):
            box = [col, row, col + 10, row + 10] if here > elsewhere else [900, 900, 910, 910]
            found.append(
                InstanceData(
                    bboxes=torch.tensor([box]).float(),
                    scores=torch.maximum(here, elsewhere).sigmoid()[None],
                    labels=torch.tensor([1]),
                )
            )
        return found


POSITION = np.array([3, 4])


def explained(engine, other):
    found = [each.detect(POSITION[None])[0] for each in (engine, other)]
    return explain(POSITION, found, Witness(engine, QUERY))


def test_the_full_engine_flipping_with_another_batch_size_shows_a_tie():
    engine = Engine(lambda batch, threads: [1.0, 1.0 + 1e-6 * (-1) ** batch])
    tie = explained(engine, Engine(lambda batch, threads: [1.0, 0.9]))
    assert 'batch 1' in tie
    assert 'batch 2' in tie


def test_the_full_engine_flipping_with_another_thread_count_shows_a_tie():
    before = torch.get_num_threads()
    engine = Engine(lambda batch, threads: [1.0, 1.0 + 1e-6 * (-1) ** threads])
    assert '2 threads' in Witness(engine, QUERY).flips(POSITION)
    assert torch.get_num_threads() == before


def test_noise_at_the_level_of_rounding_shows_a_tie_that_no_other_run_showed():
    # With other batch sizes both logits move by 1e-6 together: the full engine's decision is stable.
    engine = Engine(lambda batch, threads: [1.0 + 1e-6 * batch, 1.0 - 2e-7 + 1e-6 * batch])
    tie = explained(engine, Engine(lambda batch, threads: [1.0, 1.1]))
    assert 'head outputs change by' in tie


def test_noise_larger_than_the_rounding_is_not_tried():
    engine = Engine(lambda batch, threads: [1.0 + 1e-6 * batch, 0.999 + 1e-6 * batch])
    assert explained(engine, Engine(lambda batch, threads: [1.0, 1.1])) is None


@pytest.fixture
def positions():
    return bordered_positions((40, 60), (10, 10), 8)


def scan(full, incremental, positions):
    return compare_engines('toy', 'zeros', full, incremental, QUERY, positions)


def test_equal_engines_agree_everywhere(positions):
    full, incremental = (Engine(lambda batch, threads: [2.0, 1.0]) for _ in range(2))
    agreement = scan(full, incremental, positions)
    assert agreement.holds
    assert agreement.found == agreement.positions == len(positions)
    assert agreement.head == agreement.score == 0


def test_a_difference_in_head_outputs_is_reported_although_all_scores_agree(positions):
    full = Engine(lambda batch, threads: [9.0, 1.0])
    incremental = Engine(lambda batch, threads: [9.0, 1.01])
    agreement = scan(full, incremental, positions)
    assert not agreement.differences
    assert agreement.head == pytest.approx(0.01 / 9, rel=1e-3)
    assert not agreement.holds


def test_every_differing_position_is_listed_and_a_bug_stays_unexplained(positions):
    full = Engine(lambda batch, threads: [2.0, 1.0])
    incremental = Engine(lambda batch, threads: [2.0, 1.0], fault=-1e-3)
    agreement = scan(full, incremental, positions)
    assert not agreement.holds
    assert len(agreement.unexplained) == len(positions)
    assert {(d.row, d.col) for d in agreement.differences} == {*map(tuple, positions.tolist())}
    assert agreement.score == pytest.approx(1e-3 * 0.105, rel=0.01)


def test_ties_are_listed_but_do_not_break_the_agreement(positions):
    full = Engine(lambda batch, threads: [1.0, 1.0 + 1e-6 * (-1) ** batch])
    incremental = Engine(lambda batch, threads: [1.0, 1.0 - 1e-6])
    full.batch_size = 8
    agreement = scan(full, incremental, positions)
    assert len(agreement.differences) == len(positions)
    assert agreement.holds


def test_positions_reach_all_borders_at_any_stride():
    rows, cols = bordered_positions((40, 61), (10, 7), 8).T
    assert sorted({*rows.tolist()}) == [0, 8, 16, 24, 30]
    assert sorted({*cols.tolist()}) == [0, 8, 16, 24, 32, 40, 48, 54]
    assert len(rows) == 5 * 8


def test_noise_and_listening_leave_no_hooks_behind():
    engine = Engine(lambda batch, threads: [1.0, 1.0])
    Witness(engine, QUERY).flips_by_rounding(POSITION)
    assert not engine.model.bbox_head._forward_hooks
    assert ties.BATCHES[0] == 1
