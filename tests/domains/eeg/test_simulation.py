"""The simulation is what its truth says it is: where, when and in which band."""

import mne
import numpy as np
import pytest
from scipy import signal, stats

from sciexplain.domains.eeg.simulation import BANDS, CHANNELS, WINDOW, simulate_motor_imagery

SUBJECTS = range(1, 10)


@pytest.fixture(scope="module")
def sim():
    return simulate_motor_imagery(3, 100)


@pytest.fixture(scope="module")
def lost():
    """What desynchronisation takes away, at the scalp: the same draw without it, minus with it."""
    without = simulate_motor_imagery(3, 100, effect=0.0)
    return without.epochs.get_data() - simulate_motor_imagery(3, 100).epochs.get_data()


def at_sources(data, truth):
    """Moments (trial, hemisphere, time) whose potentials are `data`."""
    return np.einsum("hc,ict->iht", np.linalg.pinv(truth.gain.values.T), data)


def power(data, sfreq, band):
    frequency, density = signal.periodogram(data, sfreq)
    return density[..., (frequency >= band[0]) & (frequency <= band[1])].sum(-1)


def test_epochs_are_labelled_and_called_simulated(sim):
    assert sim.epochs.ch_names == list(CHANNELS)
    assert len(CHANNELS) == len(set(CHANNELS)) == 22
    assert sim.epochs.event_id == {"left": 1, "right": 2}
    assert len(sim.epochs["left"]) == len(sim.epochs["right"]) == 50
    assert "simulated" in sim.epochs.info["description"]
    assert "simulated" in sim.truth.description
    assert sim.epochs.get_montage().ch_names == list(CHANNELS)
    np.testing.assert_array_equal(sim.truth.time, sim.epochs.times)
    assert 5e-6 < sim.epochs.get_data().std() < 5e-5  # volt, of the size of EEG


def test_same_subject_and_seed_same_numbers(sim):
    again = simulate_motor_imagery(3, 100)
    np.testing.assert_array_equal(again.epochs.get_data(), sim.epochs.get_data())
    assert again.truth.identical(sim.truth)


@pytest.mark.parametrize("other", [{"subject": 4}, {"subject": 3, "seed": 1}])
def test_other_subject_or_seed_other_numbers(sim, other):
    different = simulate_motor_imagery(n_trials=100, **other)
    assert not np.allclose(different.truth.moment, sim.truth.moment, rtol=1e-3, atol=0)
    assert not np.allclose(different.truth.position, sim.truth.position, atol=1e-4)
    assert np.corrcoef(different.epochs.get_data().ravel(), sim.epochs.get_data().ravel())[0, 1] < 0.1


def test_anatomy_and_rhythms_do_not_depend_on_the_options(sim):
    few = simulate_motor_imagery(3, 4, blinks=False)
    for name in ("gain", "position", "moment", "peak", "desynchronisation"):
        np.testing.assert_array_equal(few.truth[name], sim.truth[name], err_msg=name)


def test_gains_are_the_columns_of_a_forward_model_of_the_stated_dipoles(sim):
    """By MNE's other road: fixed dipoles instead of a free source space."""
    truth, info = sim.truth, sim.epochs.info
    dipoles = mne.Dipole(np.zeros(2), truth.position.values, np.ones(2), truth.orientation.values, np.ones(2))
    sphere = mne.make_sphere_model("auto", "auto", info, verbose="ERROR")
    forward, _ = mne.make_forward_dipole(dipoles, sphere, info, verbose="ERROR")
    assert forward["sol"]["row_names"] == list(CHANNELS)
    largest = np.abs(truth.gain).max().item()
    np.testing.assert_allclose(truth.gain.values.T, forward["sol"]["data"], rtol=1e-5, atol=1e-6 * largest)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_each_hand_area_is_strongest_near_its_own_side(subject):
    truth = simulate_motor_imagery(subject, 2).truth
    strongest = np.abs(truth.gain).idxmax("channel")
    assert strongest.sel(hemisphere="left").item() in {"C3", "FC3", "CP3", "C5"}
    assert strongest.sel(hemisphere="right").item() in {"C4", "FC4", "CP4", "C6"}
    assert (
        truth.position.sel(hemisphere="left", xyz="x") < 0 < truth.position.sel(hemisphere="right", xyz="x")
    )


def test_the_hand_opposite_the_imagined_one_loses_most(sim):
    truth = sim.truth
    assert truth.active.sel(event="left", hemisphere="right").item()
    assert truth.active.sel(event="right", hemisphere="left").item()
    assert truth.active.sum().item() == 2
    loss = truth.desynchronisation
    assert (loss.where(truth.active).min() > loss.where(~truth.active).max()).item()


def test_the_loss_is_confined_to_the_window(sim, lost):
    outside = (sim.truth.time.values < WINDOW[0]) | (sim.truth.time.values > WINDOW[1])
    np.testing.assert_array_equal(sim.truth.window, WINDOW)
    np.testing.assert_allclose(lost[..., outside], 0.0, atol=1e-18)
    assert lost[..., ~outside].std() > 1e-7


def test_the_loss_comes_from_the_two_hand_areas(sim, lost):
    modelled = np.einsum("hc,iht->ict", sim.truth.gain.values, at_sources(lost, sim.truth))
    np.testing.assert_allclose(modelled, lost, rtol=0, atol=1e-9 * np.abs(lost).max())


def test_the_loss_is_in_the_stated_bands(sim, lost):
    course = at_sources(lost, sim.truth)
    total = power(course, 250.0, (0, 125)).sum()
    assert power(course, 250.0, (7.5, 30.5)).sum() > 0.98 * total  # half a hertz for the window's edges
    assert power(course, 250.0, (14.5, 15.5)).sum() < 0.05 * total  # between the rhythms: nothing much


@pytest.fixture(scope="module")
def lost_at_sources():
    """Moments (trial, hemisphere, time) that 400 trials lose, their labels and their truth."""
    without, sim = (simulate_motor_imagery(3, 400, effect=effect) for effect in (0.0, 1.0))
    difference = without.epochs.get_data() - sim.epochs.get_data()
    return at_sources(difference, sim.truth), sim.epochs.events[:, 2], sim.truth


@pytest.mark.parametrize("event", ["left", "right"])
@pytest.mark.parametrize("band", list(BANDS))
def test_the_loss_has_the_stated_size(lost_at_sources, event, band):
    """RMS lost over RMS before the cue where the envelope is 1; a trial realises 0.5 to 1.5 of the mean."""
    course, labels, truth = lost_at_sources
    rows = labels == {"left": 1, "right": 2}[event]
    sos = signal.butter(6, BANDS[band], "bandpass", fs=250.0, output="sos")
    course = signal.sosfiltfilt(sos, course[rows], axis=-1)[..., truth.envelope.values == 1]
    share = np.sqrt((course**2).mean((0, 2))) / truth.moment.sel(band=band).values
    want = truth.desynchronisation.sel(event=event, band=band).values * np.sqrt(1 + 1 / 12)
    np.testing.assert_allclose(share, want, rtol=0.1)


def test_contralateral_power_drops_at_the_scalp_in_the_window_and_not_before():
    """Log mu power C3 - C4, left against right imagery."""
    sim = simulate_motor_imagery(7, 100)
    data = sim.epochs.get_data(picks=["C3", "C4"])
    times, right = sim.epochs.times, sim.epochs.events[:, 2] == 2

    def difference(start, stop):
        log_power = np.log(power(data[..., (times >= start) & (times < stop)], 250.0, BANDS["mu"]))
        return stats.ttest_ind(*((log_power[:, 0] - log_power[:, 1])[rows] for rows in (~right, right)))

    inside, before = difference(*WINDOW), difference(-0.5, 0.5)
    assert inside.statistic > 0  # left hand: C4 loses power, so C3 - C4 is larger
    assert inside.pvalue < 1e-6
    assert before.pvalue > 0.01


@pytest.mark.parametrize("band", list(BANDS))
def test_the_hand_areas_spectrum_peaks_where_stated(band):
    sim = simulate_motor_imagery(7, 100, effect=0.0, blinks=False)
    channel = str(np.abs(sim.truth.gain.sel(hemisphere="left")).idxmax("channel").item())
    frequency, density = signal.welch(sim.epochs.get_data(picks=[channel]).ravel(), 250.0, nperseg=1000)
    peak = sim.truth.peak.sel(band=band).item()
    near = (frequency > peak - 5) & (frequency < peak + 5)
    edges = (np.abs(frequency - peak) > 3.5) & near
    slope, offset = np.polyfit(np.log(frequency[edges]), np.log(density[edges]), 1)  # the 1/f floor
    above = np.log(density[near]) - slope * np.log(frequency[near]) - offset
    assert abs(frequency[near][above.argmax()] - peak) < 1.5


def test_background_falls_with_frequency():
    sim = simulate_motor_imagery(2, 100, blinks=False)
    frequency, density = signal.welch(sim.epochs.get_data(picks=["Fz"]).ravel(), 250.0, nperseg=1000)
    pick = ((frequency >= 2) & (frequency < 7)) | ((frequency > 32) & (frequency <= 45))
    slope = np.polyfit(np.log(frequency[pick]), np.log(density[pick]), 1)[0]
    assert -1.6 < slope < -0.8


def test_blinks_are_frontal_and_counted():
    with_blinks, without = (simulate_motor_imagery(5, 100, blinks=b) for b in (True, False))
    added = with_blinks.epochs.get_data() - without.epochs.get_data()
    gain = with_blinks.truth.blink_gain
    assert set(gain.channel.values[np.argsort(-np.abs(gain.values))[:2]]) == {"Fp1", "Fp2"}
    course = np.einsum("c,ict->it", gain.values, added) / (gain.values**2).sum()
    residual = added - np.multiply.outer(gain.values, course).transpose(1, 0, 2)
    np.testing.assert_allclose(residual, 0, atol=1e-15)
    blinked = with_blinks.epochs.metadata["blinks"].to_numpy() > 0
    assert 0 < blinked.sum() < 100
    np.testing.assert_array_equal(course.max(axis=1) > 1e-6, blinked)
    assert without.epochs.metadata["blinks"].sum() == 0


def test_blinks_do_not_depend_on_the_class():
    counts = np.zeros((2, 2), dtype=int)  # (hand, with or without a blink), over all subjects
    for subject in SUBJECTS:
        epochs = simulate_motor_imagery(subject, 100).epochs
        blinked = epochs.metadata["blinks"].to_numpy() > 0
        np.add.at(counts, (epochs.events[:, 2] - 1, blinked.astype(int)), 1)
    assert counts.sum() == 900
    assert stats.chi2_contingency(counts).pvalue > 0.01


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"subject": 0}, "subject=0 .expected an integer from 1"),
        ({"n_trials": 1}, "n_trials=1 .expected an integer from 2"),
        ({"seed": -1}, "seed=-1 .expected an integer from 0"),
        ({"sfreq": 50.0}, "sfreq=50.0 .expected at least 100 Hz"),
        ({"effect": 1.5, "subject": 1.5}, "subject=1.5 .*effect=1.5 .expected 0 to 1"),
    ],
)
def test_wrong_options_are_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        simulate_motor_imagery(**wrong)


def csp_lda_accuracy(subject, effect=1.0):
    """5-fold accuracy of CSP (4 components) + LDA, 8-30 Hz: in the window, and over the whole trial."""
    from mne.decoding import CSP
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline

    epochs = simulate_motor_imagery(subject, 100, effect=effect).epochs.filter(8.0, 30.0, verbose="ERROR")
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    with mne.use_log_level("ERROR"):
        return [
            cross_val_score(
                make_pipeline(CSP(n_components=4, log=True), LinearDiscriminantAnalysis()),
                cut.get_data(),
                cut.events[:, 2],
                cv=folds,
            ).mean()
            for cut in (epochs.copy().crop(*WINDOW), epochs)
        ]


@pytest.mark.slow
def test_csp_and_lda_decode_70_to_90_percent_over_nine_subjects():
    accuracy = np.array([csp_lda_accuracy(subject) for subject in SUBJECTS])
    mean = accuracy.mean(axis=0)
    assert ((mean > 0.70) & (mean < 0.90)).all(), accuracy
    assert (accuracy.max(axis=0) - accuracy.min(axis=0) > 0.15).all(), accuracy  # subjects differ


@pytest.mark.slow
def test_without_the_effect_nothing_can_be_decoded():
    mean = np.mean([csp_lda_accuracy(subject, effect=0.0) for subject in SUBJECTS], axis=0)
    assert ((mean > 0.42) & (mean < 0.58)).all(), mean


@pytest.mark.parametrize("sfreq", [100.0, 125.0, 128.0, 250.0])
def test_any_rate_gives_four_seconds_with_a_sample_at_the_cue(sfreq):
    times = simulate_motor_imagery(1, 4, sfreq=sfreq).epochs.times
    assert len(times) == round(4 * sfreq)
    assert np.abs(times).min() < 1e-9
