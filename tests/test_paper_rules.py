"""Figures 5, 7, 8, S2, S4 to S7, Table 1 and the claims without a figure, of benchmarks/paper."""

import numpy as np
import pytest

from benchmarks.paper import fig8, figs5, figs6, figs7, further, measures, online, rules, table1
from benchmarks.paper.claims import judged
from benchmarks.paper.experiments import Records
from benchmarks.paper.targets import Setting
from rulesearch.data.tasks import ImageSet, TaskShape
from rulesearch.notation import Pool
from rulesearch.population import Population

TRIALS, STEPS = 4, 300


def course(value, shape=(), spread=1e-3):
    """Made-up trials around a value: [trials, meta-steps, *shape]."""
    noise = np.random.default_rng(0).uniform(-spread, spread, (TRIALS, STEPS, *shape))
    return np.asarray(value, dtype=float) + noise


def made_up(accuracy=0.5, loss=1.0, theta=(0.01,), angle=(80, 80, 80, 80, 0), **observed):
    """Records whose courses stay at these values."""
    columns = {"angle": angle, **observed}
    return Records(
        loss=course(loss),
        accuracy=course(accuracy),
        theta=course(theta, (len(theta),), 1e-5),
        diverged=np.zeros((TRIALS, STEPS), dtype=np.int64),
        observed={name: course(values, (len(values),)) for name, values in columns.items()},
    )


def verdicts(claims, numbers):
    return {claim.key: claim.finding.verdict for claim in judged(claims, numbers)}


# --- measures ------------------------------------------------------------------------------------


def test_what_is_not_finite_counts_as_chance():
    run = made_up(accuracy=0.5, loss=1.0)
    run.accuracy[0, 3] = run.loss[0, 3] = np.nan
    assert measures.accuracy(run)[0, 3] == 1 / 47
    assert measures.loss(run)[0, 3] == pytest.approx(3.850, abs=5e-4)  # ln 47
    assert np.array_equal(measures.accuracy(run)[1:], run.accuracy[1:])


def test_a_coefficient_has_settled_from_where_it_stays_near_its_end():
    step = np.where(np.arange(STEPS) < 100, 0.0, 1.0)
    # The mean of 20 is within a quarter of 1 once 15 of them are past the step: 95 … 114, whose
    # middle is 105.
    assert measures.settled(step[None]) == [105]
    assert measures.settled(np.ones((1, STEPS))) == [0]
    assert measures.settled(np.where(np.arange(STEPS) % 50 < 25, 1.0, -1.0)[None]) >= STEPS - 50


def test_coefficients_that_change_their_sign_are_not_kept():
    run = made_up(theta=(0.01, -0.01, 0.0))
    assert measures.one_sided(run).tolist() == [2] * TRIALS
    run.theta[1, -1, 0] = -0.01
    run.accuracy[2] = 1 / 47
    assert np.array_equal(measures.one_sided(run), [2, 1, np.nan, 2], equal_nan=True)


# --- figures 5, 7 and S2 -------------------------------------------------------------------------


def as_published():
    """Courses that follow what the paper says of its rules."""
    return {
        rules.BP: made_up(0.70, 0.8, (0.017,), (0, 0, 0, 0, 0)),
        rules.FA: made_up(0.25, 1.8, (0.01,), (88, 88, 88, 86, 0)),
        rules.EHEBB: made_up(0.50, 1.2, (0.01, -0.05), (75, 60, 45, 30, 0)),
        rules.OJA: made_up(0.60, 1.0, (0.01, 0.005), (86, 86, 85, 82, 0)),
        rules.BIO: made_up(0.72, 0.7, (0.01, -0.05, 0.005), (80, 74, 60, 38, 0)),
    }


def opposite(runs):
    """Everything the other way round: accuracies, losses, angles, coefficients."""
    return {
        rule: Records(
            loss=3 - run.loss,
            accuracy=1 - run.accuracy,
            theta=-run.theta * np.linspace(0.1, 1, STEPS)[:, None] ** 20,  # settles nowhere
            diverged=run.diverged,
            observed={"angle": 90 - run.observed["angle"]},
        )
        for rule, run in runs.items()
    }


@pytest.mark.parametrize("figure", list(rules.CLAIMS))
def test_claims_hold_on_what_the_paper_says_and_on_nothing_opposite(figure):
    claims, runs = rules.CLAIMS[figure], as_published()
    assert set(verdicts(claims, runs).values()) == {"holds"}
    against = verdicts(claims, opposite(runs))
    # Oja's angles are claimed to be smaller, but not by much: the reverse is still not by much.
    in_part = {key for key, verdict in against.items() if verdict != "does not hold"}
    assert in_part <= {"fig7-alignment"}


def test_a_mean_alone_holds_in_part():
    runs = as_published()
    runs[rules.BIO].accuracy[0] = 0.68  # one trial below backprop's, the mean still above
    assert verdicts(rules.CLAIMS["figS2"], runs)["figS2-backprop"] == "holds in part"


# --- table 1 -------------------------------------------------------------------------------------

SHIFTS = np.array([-1.0, 0.0, 1.0, 0.0])[:, None]


def published_angles(error=0.0):
    return {
        row.name: {m.name: np.array(row.published) + error + SHIFTS for m in table1.MEASURES}
        for row in table1.ROWS
    }


def test_all_21_cells_are_claims():
    found = judged(table1.CLAIMS, published_angles())
    cells = [part for j in found[:7] for _, part in j.finding.parts]
    assert len(cells) == 21
    assert {part.verdict for part in cells} == {"holds"}
    assert {j.key: j.finding.verdict for j in found}["table1-second-downstream"] == "holds"


@pytest.mark.parametrize(
    ("error", "verdict"), [(7.9, "holds"), (8.1, "holds in part"), (12.0, "does not hold")]
)
def test_a_cell_holds_within_eight_degrees(error, verdict):
    found = judged(table1.CLAIMS[:7], published_angles(error))
    assert {j.finding.verdict for j in found} == {verdict}


def test_the_other_sampling_is_a_claim_where_it_changes_a_verdict():
    angles = published_angles()
    assert table1.changed_verdicts(angles, table1.PUBLISHED) == ()
    angles["eHebb in W12"][table1.PUBLISHED.name] += [0, 20, 0]
    changed = table1.changed_verdicts(angles, table1.PUBLISHED)
    assert [claim.key for claim in changed] == ["table1-2-tasks-as-published"]
    assert changed[0].judge(angles).verdict == "holds in part"


def test_the_rows_are_masks_of_shared_coefficients(tmp_path):
    setting = Setting(tmp_path)
    masks = [table1.experiment_of(row, "afresh", setting).pool.mask(3) for row in table1.ROWS]
    F0, eHebb = (True, False), (True, True)
    assert [[tuple(layer) for layer in mask] for mask in masks[1:]] == [
        [F0, eHebb, F0],
        [F0, F0, eHebb],
        [eHebb, eHebb, F0],
        [F0, eHebb, eHebb],
        [eHebb, F0, eHebb],
        [eHebb, eHebb, eHebb],
    ]
    assert [tuple(layer) for layer in masks[0]] == [(True,)] * 3


def test_the_burn_in_is_left_out():
    run = made_up(angle_pre=(0, 0, 0))
    steps = np.arange(STEPS)
    run.observed["angle_pre"][:] = np.where(steps < STEPS // 5, 90.0, 30.0)[:, None]
    assert np.array_equal(table1.after_burn_in(run, table1.MAIN), np.full((TRIALS, 3), 30.0))


# --- figure 8 ------------------------------------------------------------------------------------


def orthonormality(first, last):
    """A course on a line of logarithms, equal in layers 1 … 4."""
    line = np.geomspace(first, last, STEPS)[None, :, None]
    both = line * (1 + course(0.0, (4,)))
    return fig8.Courses(meta=both, life=both)


def test_the_error_must_fall_and_be_the_smallest():
    others = {rule: orthonormality(100, 100) for rule in (rules.FA, rules.EHEBB, rules.BP)}
    good = verdicts(fig8.CLAIMS, {**others, rules.OJA: orthonormality(100, 1)})
    assert set(good.values()) == {"holds"}
    bad = verdicts(fig8.CLAIMS, {**others, rules.OJA: orthonormality(100, 1000)})
    assert set(bad.values()) == {"does not hold"}


# --- figures S5 to S7 ----------------------------------------------------------------------------


def pools(kept, l2):
    """Pools that keep so many terms, the coefficients with L2 being so many times smaller."""
    theta = np.where(np.arange(10) < kept, 0.01, 0.0)
    return {
        (protocol, penalty): made_up(theta=theta / factor)
        for protocol in figs5.PROTOCOLS
        for penalty, factor in (("no penalty", 1.0), ("L2", l2))
    }


def test_penalties():
    assert verdicts(figs5.CLAIMS[:1], pools(7, 2.0)) == {"figS5-seven": "holds"}
    assert verdicts(figs5.CLAIMS[:1], pools(3, 2.0)) == {"figS5-seven": "does not hold"}
    assert verdicts(figs5.CLAIMS[1:], pools(10, 2.0)) == {
        "figS5-smaller": "holds",
        "figS5-not-sparse": "holds",
    }
    assert verdicts(figs5.CLAIMS[1:], pools(3, 0.5)) == {
        "figS5-smaller": "does not hold",
        "figS5-not-sparse": "does not hold",
    }


def test_the_penalties_of_the_pool(tmp_path):
    setting = Setting(tmp_path)
    strengths = {
        (protocol, penalty): figs5.experiment(protocol, penalty, setting)
        for protocol in figs5.PROTOCOLS
        for penalty in figs5.PENALTIES
    }
    assert {experiment.l1 for experiment in strengths.values()} == {0.0}
    assert all((e.l2 > 0) == (penalty == "L2") for (_, penalty), e in strengths.items())


def online_courses(fa, bio):
    points = (0, 100)
    accuracy = {
        column: {
            key: np.full((TRIALS, 2), end) + SHIFTS * 0.01
            for key, end in ((figs6.FA.key, fa), (figs6.BIO_LEARNER.key, bio))
        }
        for column in online.COLUMNS
    }
    return online.Courses(points, accuracy, {}, {}, {}, ())


@pytest.mark.parametrize(
    ("fa", "bio", "normal", "expected"),
    [(0.2, 0.7, 0.71, ("holds", "holds")), (0.7, 0.2, 0.5, ("does not hold", "does not hold"))],
)
def test_bio_with_normal_feedback(fa, bio, normal, expected):
    meta = {figs6.NORMAL: made_up(normal), figs6.UNIFORM: made_up(0.7)}
    found = verdicts(figs6.CLAIMS, figs6.Found(online_courses(fa, bio), meta))
    assert tuple(found.values()) == expected


def test_normal_feedback_reaches_the_networks_of_the_stream():
    assert {learner.feedback_init for learner in figs6.LEARNERS} == {"normal"}
    assert {learner.key for learner in figs6.LEARNERS}.isdisjoint(
        learner.key for learner in online.LEARNERS
    )


def test_p_values_are_those_of_counting():
    # 20 ways to divide six into halves; U = 8 of 9: the observed one and the one above it.
    rule, baseline = np.array([[3.0], [5.0], [6.0]]), np.array([[1.0], [2.0], [4.0]])
    assert figs7.p_values(rule, baseline) == pytest.approx([2 / 20])


@pytest.mark.parametrize(
    ("from_step", "verdict"), [(20, "holds"), (150, "does not hold"), (None, "does not hold")]
)
def test_significance_within_100_meta_steps(from_step, verdict):
    baseline = course(0.3, spread=0.05)
    rule = course(0.3, spread=0.05)[::-1].copy()
    if from_step is not None:
        rule[:, from_step:] += 0.5
    finding = figs7.onset(rule, baseline)
    assert finding.verdict == verdict
    assert finding.value == (float("inf") if from_step is None else from_step)


# --- claims without a figure ---------------------------------------------------------------------


def without_figure(hebb=1e6, oja=2.0, gain=0.2, last=0.0, pool=0.0):
    base = 0.7
    return further.Found(
        {
            (rule, rate): np.full((TRIALS, 3), size) * (1 + 0.01 * SHIFTS)
            for rule, size in ((further.HEBB, hebb), (further.OJA, oja))
            for rate in further.RATES
        },
        {
            size: {further.BP: made_up(0.5), further.BOTH: made_up(0.5 + gain)}
            for size in further.GAINS
        },
        {further.OJA: made_up(base + last), further.HIDDEN_ONLY: made_up(base)},
        {protocol: made_up(base + pool) for protocol in further.PROTOCOLS},
        made_up(base),
    )


def test_claims_without_a_figure():
    assert set(verdicts(further.CLAIMS, without_figure()).values()) == {"holds"}
    against = without_figure(hebb=1.5, oja=100.0, gain=-0.1, last=-0.1, pool=-0.3)
    assert set(verdicts(further.CLAIMS, against).values()) == {"does not hold"}
    overflow = without_figure(hebb=np.inf)
    assert verdicts(further.CLAIMS, overflow)["further-hebb"] == "holds"


def test_pure_hebb_blows_up_where_oja_does_not():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 8)
    images = ImageSet(
        *("tiny", "made up", 2, rng.uniform(size=(16, 12)).astype(np.float32), labels),
        *(np.arange(16), np.array([0, 8, 16])),
    )
    growth = {}
    for rule, (name, text) in further.PURE.items():
        pool = Pool(**{name: text})
        population = Population(pool, images, TaskShape(2, 6, 2), (12, 8, 2), kernel="einsum")
        growth[rule] = further.growth_under(population, 0.5, (1,), (0, 12))
        assert growth[rule][:, 0] == 1
    assert growth[further.HEBB][0, 1] > 1e3 * growth[further.OJA][0, 1]
