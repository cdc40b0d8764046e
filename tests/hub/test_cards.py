import json
import re

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

import brainmri
from brainmri.reporting.card_metadata import METRICS
from brainmri.reporting.model_card import write_card


def test_metadata_reads_back_with_the_values_of_the_run(make_run):
    run = make_run()
    figures = json.loads((run / "result.json").read_text())["test"]
    data = ModelCard.load(write_card(run)).data
    assert data.library_name == "timm"
    assert data.pipeline_tag == "image-classification"
    assert "license" not in data.to_dict() or data.license is None
    assert {"brain-tumor", "resnet50"} <= set(data.tags)
    assert data.model_name == "ResNet-50, all weights trained (clean)"
    results = {result.metric_name: result for result in data.eval_results}
    keys = {name: key for key, name, *_ in METRICS}
    assert results.keys() == keys.keys()
    for name, result in results.items():
        assert result.metric_value == pytest.approx(figures[keys[name]], abs=1e-6)
        assert result.task_type == "image-classification"
        assert (result.dataset_name, result.dataset_split) == ("kaggle-4class (grouped split)", "test")
        assert result.dataset_args == {"fingerprint": "0123456789abcdef", "split": "grouped", "split_seed": 42}
    assert results["Macro F1"].metric_type == "f1"


def test_card_reads_as_a_whole(make_run):
    text = write_card(make_run(), repo_id="someone/resnet50").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ .*", text, flags=re.MULTILINE)
    assert headings == [
        "# ResNet-50, all weights trained",
        "## Use",
        "## Results on the test split",
        "### One answer for a patient",
        "## What it refuses",
        "## Data",
        "## Training",
        "## Licence and citation",
        "## Limits",
    ]
    assert 'pipeline("image-classification", model="someone/resnet50")' in text
    assert re.search(r"\| \*\*this network\*\* \| \*\*\d\d\.\d % \[\d\d\.\d, \d\d\.\d\]\*\* \|", text)
    assert "| baseline: Nearest training image (64x64 pixels) | 82.3 % |" in text
    assert re.search(r"^\| glioma( \| \d\d\.\d %){3} \| 0\.\d{3} \| \d+ \|$", text, flags=re.MULTILINE)
    assert re.search(r"^\| patients, pooled \| \d+ \| \d+\.\d % \[\d+\.\d, \d+\.\d\] \| ", text, flags=re.MULTILINE)
    assert "the mean of the most suspicious half of the slices" in text
    assert "No group stands in more than one split" in text
    assert text.count("not a medical device") == 1
    assert "timm/resnet50.tv_in1k@4f1d sha256:0123abcd" in text
    assert "No rule for refusing an image was fitted for this model." in text
    assert "None" not in text
    assert "\n\n\n" not in text
    assert text.endswith(".\n")


def test_card_says_what_is_refused_of_images_that_nothing_was_chosen_by(make_run, reject_record):
    text = write_card(make_run(ood=reject_record)).read_text(encoding="utf-8")
    assert "| faces, grey | gradio | 100 | 84.0 % [75.3, 90.6] | yes |" in text
    assert "| brain MRI: one head | gradio | 1 | 0.0 % [0.0, 97.5] | an open question |" in text
    assert "handwritten digits" not in text
    assert "head CT" not in text
    assert re.search(r"Of the test images 5\.0 % \[\d+\.\d, \d+\.\d\] are lost by it; of those kept \d\d\.\d %", text)
    assert "finds many of those, not all" in text
    assert "None" not in text
    assert "\n\n\n" not in text


def test_the_cost_is_what_was_measured_time_and_hardware(make_run):
    run = make_run()
    training, hardware = (json.loads((run / "result.json").read_text())[key] for key in ("training", "environment"))
    text = write_card(run).read_text(encoding="utf-8")
    assert training["time_to_converge_s"] > 0
    assert re.search(r"^\| time to converge \| \d[^|]* \|$", text, flags=re.MULTILINE)
    assert f"| hardware | {hardware['hardware']} |" in text
    assert not re.search(r"emission|CO2| Wh\b", text)  # nobody measured them


def test_every_table_is_well_formed(make_run):
    text = write_card(make_run(classes=["a|b", "c<d", "e"])).read_text(encoding="utf-8")
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        magnitudes = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(magnitudes) == 1, block
        assert re.fullmatch(r"(\|---)+\|", block.splitlines()[1])
    assert "a\\|b" in text
    assert "c<d" not in text


def test_own_networks_need_their_code_and_say_so(make_run):
    run = make_run(weights="random")
    auto = {"AutoModelForImageClassification": "modeling_plain_cnn.PlainCnn"}
    (run / "config.json").write_text(json.dumps({"model_type": "plain_cnn", "auto_map": auto}))
    path = write_card(run)
    assert ModelCard.load(path).data.library_name == "transformers"
    text = path.read_text(encoding="utf-8")
    assert "trust_remote_code=True)" in text
    assert "> **RANDOM WEIGHTS.**" in text


def test_leaky_simulated_and_partial_runs_are_marked_in_text_and_metadata(make_run):
    run = make_run(data__name="oslo", data__simulated=True, data__leaky=True, training__schedule_fraction=0.5)
    path = write_card(run)
    text = path.read_text(encoding="utf-8")
    assert ModelCard.load(path).data.eval_results[0].dataset_name == "oslo (grouped split, leaky, simulated)"
    for headline in ("SIMULATED IMAGES", "PARTIAL SCHEDULE", "LEAKY SPLIT"):
        assert f"> **{headline}.**" in text
    assert "(**leaky** split)" in text


def test_sources_are_cited_by_the_recorded_origin_alone(make_run):
    kaggle = {"data__layout": "kaggle-4class", "data__name": "phantom"}
    unknown = write_card(make_run("a", **kaggle)).read_text(encoding="utf-8")
    assert "SIMULATED" not in unknown
    assert not re.search("Nickparvar|Cheng|Fonov", unknown)
    assert "The origin of the data was not recorded (`scripts/prepare_data.py --origin NAME` does)" in unknown
    known = write_card(make_run("b", data__origin="figshare-cheng")).read_text(encoding="utf-8")
    assert "- Cheng J. Brain tumor dataset." in known
    assert "`figshare-cheng`, whose licence is cc-by-4.0." in known
    simulated = write_card(make_run("c", data__simulated=True)).read_text(encoding="utf-8")
    assert "- Fonov V" in simulated
    # Of a run that was made before this was recorded, nothing is claimed.
    run = make_run("d", **kaggle)
    result = json.loads((run / "result.json").read_text())
    del result["data"]["simulated"], result["data"]["origin"]
    (run / "result.json").write_text(json.dumps(result))
    assert write_card(run).read_text(encoding="utf-8") == unknown


def test_undefined_figures_are_left_out_of_the_metadata(make_run):
    results = ModelCard.load(write_card(make_run(test__auroc=None))).data.eval_results
    assert "roc_auc" not in [result.metric_type for result in results]


def test_a_run_without_test_figures_has_no_model_index(make_run):
    path = write_card(make_run(test=None, floors=None))
    assert ModelCard.load(path).data.eval_results is None
    assert "not measured" in path.read_text(encoding="utf-8")


def test_nasty_names_cannot_break_the_metadata(make_run):
    run = make_run(data__name="set: [1] #x\n---", arch="timm:resnet50")
    assert ModelCard.load(write_card(run)).data.eval_results[0].dataset_name == "set: [1] #x\n--- (grouped split)"


@pytest.fixture
def classify(tmp_path):
    """A plain pipeline of a network that answers by how bright an image is in its parts."""
    import torch
    from transformers import AutoImageProcessor, ResNetConfig, ResNetForImageClassification, pipeline

    torch.manual_seed(1)
    shape = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    network = ResNetForImageClassification(ResNetConfig(num_labels=4, **shape))
    network.classifier[1].weight.data *= 20
    network.eval().save_pretrained(tmp_path / "model")
    settings = {"image_processor_type": "ViTImageProcessor", "size": {"height": 64, "width": 64}}
    (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps(settings))
    processor = AutoImageProcessor.from_pretrained(tmp_path / "model")
    return pipeline("image-classification", model=network, image_processor=processor, device="cpu")


def test_the_lines_of_the_card_give_an_image_of_16_bits_the_answer_of_8(make_run, tmp_path, classify, monkeypatch):
    text = write_card(make_run(), repo_id="someone/resnet50").read_text(encoding="utf-8")
    after = text[text.index("An image of more than 8 bits") :]
    lines = re.search(r"```python\n(.*?)```", after, flags=re.DOTALL).group(1)
    down, across = np.mgrid[-1:1:96j, -1:1:96j]
    grey = (down**2 + across**2 < 0.8) * (70 + 60 * np.sin(9 * across) * np.cos(7 * down))
    grey[30:42, 50:62] = 255
    deep = tmp_path / "slice.png"
    Image.fromarray(grey.astype(np.uint8)).save(tmp_path / "8_bits.png")
    Image.fromarray((grey * 16).astype(np.uint16)).save(deep)
    monkeypatch.chdir(tmp_path)

    answers = []
    exec(lines, {"classify": lambda image: answers.append(classify(image))})
    exec(
        'answer(brainmri.read_scan("slice.png").image())',
        {"answer": lambda image: answers.append(classify(image)), "brainmri": brainmri},
    )
    expected, clipped = (
        {answer["label"]: answer["score"] for answer in classify(str(file))} for file in ("8_bits.png", deep)
    )
    for answer in answers:
        assert answer[0]["label"] == max(expected, key=expected.get)
        assert all(abs(one["score"] - expected[one["label"]]) < 0.05 for one in answer)
    assert max(abs(clipped[label] - expected[label]) for label in expected) > 0.1  # which is why the card says so
