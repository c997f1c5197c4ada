"""The tables of the benchmark: from result files that are written here to what is shown."""

from __future__ import annotations

import json
import math
import re
import statistics
from html.parser import HTMLParser

import numpy as np
import pyarrow.csv as pcsv
import pytest
from scipy import stats

from emrl_ray.experiments.benchmark.comparison import compare
from emrl_ray.experiments.benchmark.methods import METHODS
from emrl_ray.experiments.benchmark.published import published_scores
from emrl_ray.experiments.benchmark.results import read_results
from emrl_ray.experiments.benchmark.statistics import corrected_resampled_t_test, holm
from emrl_ray.reports.benchmark.tables import markdown, tidy, write_tables
from tests.support.benchmark_results import CGCNN, CLASSICAL, GB, three_methods, write_results


@pytest.fixture
def results(tmp_path):
    return three_methods(tmp_path / "results")


def compared(folder):
    return compare(read_results(str(folder)).found)


def scores_of(comparison):
    return {scores.method: scores for scores in comparison.methods}


def section_of(folder, title):
    sections = re.split(r"^## ", markdown(compared(folder)), flags=re.M)[1:]
    return next(text for text in sections if text.startswith(title))


def cells(text, method):
    row = next(line for line in text.splitlines() if line.startswith(f"| {method} "))
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_paper_has_what_its_tables_have_and_no_mpb():
    assert published_scores("HOIP", "EMRL-GB") == (0.142, 0.003, 0.967, 0.004)
    assert published_scores("MPL-FE", "CGCNN") == (0.058, 0.001, 0.992, 0.001)
    assert published_scores("MPS-BG", "MEGNet") is None
    assert published_scores("HOIP", "classical") is None
    assert published_scores("MPB", "EMRL-GB") is None
    assert published_scores("mpb", "EMRL-GB") is None


def test_means_and_spreads_are_those_of_the_repeats(results):
    (comparison,) = compared(results)
    scores = scores_of(comparison)["CGCNN"]
    assert scores.mae == pytest.approx((statistics.mean(CGCNN), statistics.stdev(CGCNN), 5))
    assert scores.r2.mean == pytest.approx(1.1 - statistics.mean(CGCNN))
    assert scores.r2.sd == pytest.approx(statistics.stdev(CGCNN))
    assert (scores.train_seconds, scores.predict_per_second) == (102.0, 9000.0)
    assert comparison.floor_mean.mae.mean == pytest.approx(0.72)
    assert comparison.floor_composition.r2.mean == pytest.approx(0.76)


def test_the_error_reduction_is_of_common_splits_and_stands_beside_the_papers(results):
    (comparison,) = compared(results)
    expected = 1 - statistics.mean(GB) / statistics.mean(CGCNN)
    assert comparison.error_reduction.mean == pytest.approx(expected)
    assert comparison.paper_error_reduction == pytest.approx((0.255 - 0.142) / 0.255)

    write_results(results, "CGCNN", [9.0], first_seed=7)  # a split that EMRL-GB lacks
    (comparison,) = compared(results)
    assert comparison.error_reduction.mean == pytest.approx(expected)
    assert comparison.error_reduction.n == 5


def test_the_paired_test_is_the_corrected_resampled_t_test(results):
    (comparison,) = compared(results)
    test = scores_of(comparison)["classical"].against_reference
    d = [one - other for one, other in zip(CLASSICAL, GB, strict=True)]
    plain = stats.ttest_rel(CLASSICAL, GB).statistic  # mean / sqrt(s²/J)
    t = plain * math.sqrt((1 / 5) / (1 / 5 + 269 / 1076))
    assert test.difference == pytest.approx(statistics.mean(d))
    assert test.p == pytest.approx(2 * stats.t.cdf(-abs(t), df=4))
    assert test.p > stats.ttest_rel(CLASSICAL, GB).pvalue


def test_p_values_are_corrected_by_holm_over_the_comparisons_of_a_table(results):
    (comparison,) = compared(results)
    scores = scores_of(comparison)
    assert comparison.best == "EMRL-GB"  # so both columns hold the same two comparisons
    p = [scores[name].against_reference.p for name in ("CGCNN", "classical")]
    assert p[0] < p[1]
    assert scores["CGCNN"].against_reference.p_holm == pytest.approx(2 * p[0])
    assert scores["classical"].against_reference.p_holm == pytest.approx(p[1])
    assert scores["classical"].against_best == scores["classical"].against_reference
    assert scores["EMRL-GB"].against_reference is None


def test_holm_steps_down_and_keeps_the_order():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_equal_errors_do_not_differ(results):
    write_results(results, "EMRL-LR", GB)
    (comparison,) = compared(results)
    assert scores_of(comparison)["EMRL-LR"].against_reference.p == 1.0


def test_a_constant_difference_is_one_without_doubt():
    assert corrected_resampled_t_test(np.full(4, 0.5), 80, 20) == 0.0


def test_only_splits_of_the_same_crystals_are_paired(results):
    write_results(results, "GAT", [0.3, 0.31])
    write_results(results, "GAT", [0.3, 0.31, 0.32], first_seed=2, n_train=900)
    (comparison,) = compared(results)
    test = scores_of(comparison)["GAT"].against_reference
    assert (test.splits, test.p) == (2, None)
    row = cells(section_of(results, "HOIP, split at random"), "GAT †")
    assert row[-1] == row[-2] == "too few splits (2)"


def test_a_mean_beyond_two_of_the_papers_sd_is_marked(results):
    write_results(results, "GCN", [0.328, 0.328, 0.328])  # 0.295 ± 0.017
    write_results(results, "GAT", [0.282, 0.282, 0.282])  # 0.253 ± 0.014
    (comparison,) = compared(results)
    scores = scores_of(comparison)
    assert not scores["GCN"].worse_mae
    assert scores["GAT"].worse_mae
    assert not scores["classical"].worse_mae
    text = section_of(results, "HOIP, split at random")
    assert cells(text, "GAT")[1] == "0.282 ± 0.000 (3) ‡"
    assert re.search(r"- ‡ worse than the paper's mean.*GAT \(MAE, R²\)", text)


def test_the_markdown_holds_ours_beside_the_papers(results):
    text = section_of(results, "HOIP, split at random")
    assert cells(text, "EMRL-GB") == [
        *("EMRL-GB", "0.144 ± 0.005 (5)", "0.142 ± 0.003", "0.956 ± 0.005 ‡", "0.967 ± 0.004"),
        *("102", "9,000", "–", "–"),
    ]
    assert cells(text, "classical")[2] == "–"
    assert cells(text, "CGCNN")[-1].startswith("worse, p ")
    assert "- Floor, mean of the same composition: MAE 0.340 ± 0.000 eV, R² 0.760" in text
    assert "over CGCNN: 43.1 ± 1.4 % (5 common splits); the paper 44.3 %." in text
    assert "- Epochs: 300 (CGCNN, EMRL-GB); none (classical)." in text
    assert "- Machine: a processor, 2 CPUs, Linux x86_64." in text


def test_mpb_and_other_splits_have_no_figures_of_the_paper(results):
    write_results(results, "EMRL-GB", GB, dataset="mpb")
    write_results(results, "EMRL-GB", GB, split="formula")
    write_results(results, "EMRL-GB", [0.2], dataset="HOIP-half", unit=None)
    comparisons = compared(results)
    names = [(one.dataset, one.split) for one in comparisons]
    assert names == [
        *(("HOIP", "random"), ("HOIP", "formula")),
        *(("mpb", "random"), ("HOIP-half", "random")),
    ]
    for comparison, title in zip(
        comparisons[1:3], ("HOIP, split by formula", "mpb, split at random"), strict=True
    ):
        assert all(scores.paper is None for scores in comparison.methods)
        assert comparison.paper_error_reduction is None
        assert "paper |" not in section_of(results, title)
    assert "a set of its own" in section_of(results, "mpb")
    assert "| method | MAE | R² |" in section_of(results, "HOIP-half")


def test_unknown_methods_come_last_by_name(results):
    for name in ("zeta", "alpha", "EMRL+-GB", "GCN"):
        write_results(results, name, [0.2])
    (comparison,) = compared(results)
    assert [scores.method for scores in comparison.methods] == [
        *(name for name in METHODS if name in ("GCN", "CGCNN", "EMRL-GB", "classical", "EMRL+-GB")),
        *("alpha", "zeta"),
    ]


def test_repeats_with_other_settings_are_not_averaged_silently(results):
    write_results(results, "CGCNN", [0.26], first_seed=5, epochs=100)
    write_results(
        results,
        "classical",
        [0.14],
        first_seed=5,
        epochs=0,
        hyperparameters={"cutoff": 4.0, "seed": 5},
    )
    text = section_of(results, "HOIP, split at random")
    assert cells(text, "CGCNN †")
    assert "† CGCNN, mixed settings: epochs 300 (seed 0, 1, 2, 3, 4), 100 (seed 5)." in text
    assert "† classical, mixed settings: cutoff 5.0 (seed 0, 1, 2, 3, 4), 4.0 (seed 5)." in text
    assert not scores_of(compared(results)[0])["EMRL-GB"].mixed


def test_timings_of_two_machines_are_said_not_to_compare(results):
    write_results(results, "GAT", [0.25], machine={"processor": "another", "cpus": 8})
    text = section_of(results, "HOIP, split at random")
    (line,) = [line for line in text.splitlines() if line.startswith("- Machines, whose seconds")]
    assert "another, 8 CPUs (GAT)" in line
    assert "a processor, 2 CPUs, Linux x86_64 (CGCNN, EMRL-GB, classical)" in line


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("HOIP/GCN/random-3.json", '{"dataset": "HO', "damaged"),
        ("HOIP/GCN/random-3.json", "\xff\xfe", "damaged"),
        ("HOIP/GCN/speed.json", '{"machine": {}}', "dataset is None"),
        ("HOIP/GCN/list.json", "[1]", "not an object"),
    ],
)
def test_a_json_file_that_is_no_result_is_named_in_a_line(results, capsys, name, content, why):
    (results / name).parent.mkdir(parents=True, exist_ok=True)
    (results / name).write_bytes(content.encode("latin-1"))
    write_tables(str(results), str(results.parent / "out"))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"benchmark: {name}: skipped, ")
    assert why in line


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"mae": math.nan}, "mae is nan"),
        ({"r2": "high"}, "r2 is 'high'"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"n_test": 0}, "n_test 0"),
        ({"floors": {"mean": 1}}, "floors must hold"),
        ({"method": "GAT"}, "holds HOIP/GAT/random-0.json"),
    ],
)
def test_a_result_with_a_fault_is_skipped_and_the_fault_named(results, changes, why):
    path = results / "HOIP" / "EMRL-GB" / "random-0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    found, skipped = read_results(str(results))
    assert len(found) == 14
    assert why in skipped[0]


def test_what_lies_elsewhere_is_passed_over(results):
    write_results(results / "again", "EMRL-GB", GB[:1])
    (results / "speed.json").write_text("{}")
    found, skipped = read_results(str(results))
    assert len(found) == 15
    assert skipped == []


def test_a_folder_without_results_is_refused_in_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no result DATASET/METHOD/SPLIT-SEED\.json") as no:
        write_tables(str(tmp_path / "none"), str(tmp_path))
    assert "\n" not in str(no.value)


def test_the_csv_has_a_row_a_method_in_full_precision(results, tmp_path):
    write_results(results, "GAT", [0.31])
    write_tables(str(results), str(tmp_path))
    table = pcsv.read_csv(tmp_path / "benchmark.csv")
    rows = {row["method"]: row for row in table.to_pylist()}
    (comparison,) = compared(results)
    for method, scores in scores_of(comparison).items():
        assert rows[method]["mae_mean"] == scores.mae.mean
    assert rows["GAT"]["mae_sd"] is None
    assert rows["EMRL-GB"]["paper_mae_mean"] == 0.142
    assert rows["CGCNN"]["against_reference_splits"] == 5
    assert table.num_rows == tidy([comparison]).num_rows == 4


class Links(HTMLParser):
    """Collects what a page asks for from elsewhere, and its ids."""

    def __init__(self):
        super().__init__()
        self.links, self.ids = [], []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "href", "xlink:href"):
                self.links.append(value)
            if name == "id":
                self.ids.append(value)


def test_the_page_needs_no_other_file_and_every_reference_has_its_target(results, tmp_path):
    write_results(results, "a <b> & c", [0.2])
    write_results(results, "EMRL-GB", GB, dataset="mpb")
    write_tables(str(results), str(tmp_path))
    page = (tmp_path / "benchmark.html").read_text()
    seen = Links()
    seen.feed(page)
    assert page.count("<svg") == 4
    assert all(link.startswith("#") for link in seen.links)
    assert not re.search(r"url\((?!#)|@import|<script|<link", page)
    assert {link[1:] for link in seen.links} <= set(seen.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(seen.ids)
    assert len(seen.ids) == len(set(seen.ids))
    assert all(re.fullmatch(r"[\w.-]+", name) for name in seen.ids)
    assert "a &lt;b&gt; &amp; c" in page
    assert "<b>" not in page


def test_a_rebuilt_table_is_the_same_to_the_byte(results, tmp_path):
    for name in ("one", "two"):
        write_tables(str(results), str(tmp_path / name))
    for kind in ("md", "csv", "html"):
        one, two = ((tmp_path / name / f"benchmark.{kind}").read_bytes() for name in ("one", "two"))
        assert one == two
