"""The network in the browser by the page's own runtime, beside ONNX Runtime: in Node, and in Chromium with threads."""

import base64
import csv
import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from playwright.sync_api import Browser

import brainmri
from brainmri.evaluation.browser import MODEL, NETWORK
from brainmri.hub.static_demo import SINGLE, write_static_demo
from brainmri.models.build import build_model
from brainmri.models.int8 import quantize_weights
from brainmri.models.introspect import resolve
from brainmri.models.load import save_model
from brainmri.models.preprocessing import image_processor
from brainmri.models.sessions import onnx_session

from .chromium import chromium
from .test_browser import browser  # noqa: F401 - a fixture
from .test_static import CLOSE, NODE, address, needs_node, opened, slices  # noqa: F401 - fixtures

pytestmark = pytest.mark.integration

SIDE = 64
OWN, ORT = "own", "ONNX Runtime"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of the kind that the recipes make, with answers that differ from image to image."""
    torch.manual_seed(0)
    model, _ = build_model(
        resolve("efficientnet_lite0", overrides=[f"input.size={SIDE}"]), ["glioma", "meningioma", "notumor"], "random"
    )
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.2, 0.5)
            elif isinstance(module, torch.nn.Linear):
                module.weight.normal_(0, 0.015)
    folder = tmp_path_factory.mktemp("lite") / "saved"
    save_model(model.eval(), image_processor(SIDE, "half"), folder)
    return folder


@pytest.fixture(scope="module")
def site(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lite") / "site"
    folder.mkdir()
    write_static_demo(brainmri.load_model(saved), folder)
    return folder


def pixels_of(side: int, many: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(many, 3, side, side)).astype(np.float32)


def assert_same(site: Path, file: Path, side: int, runtime: str, threads: int = 1, runs: int = 1) -> None:
    """The network gives in Node what ONNX Runtime gives in Python."""
    assert NODE
    pixels = pixels_of(side)
    script = Path(__file__).parent / "browser" / "network.mjs"
    command = [NODE, script, site, file, str(side), str(threads), str(runs)]
    done = subprocess.run(command, input=pixels.tobytes(), capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["runtime"] for one in found] == [runtime] * len(pixels)
    session = onnx_session(file)
    for output, expected in zip(session.get_outputs(), session.run(None, {"pixel_values": pixels}), strict=True):
        assert np.ptp(expected, axis=0).max() > 0.05
        for one, values in zip(found, expected, strict=True):
            np.testing.assert_allclose(one[output.name], values.ravel(), rtol=1e-3, atol=1e-4, err_msg=output.name)


@needs_node
@pytest.mark.parametrize("threads", [1, 3])
def test_the_network_of_the_recipes_gives_what_onnx_runtime_gives(site: Path, threads: int) -> None:
    assert_same(site, site / NETWORK, SIDE, OWN, threads, runs=20 if threads > 1 else 2)


@needs_node
def test_weights_of_8_bits_become_floats(site: Path, tmp_path: Path) -> None:
    quantize_weights(site / NETWORK, tmp_path / "small.onnx", pixels_of(SIDE))
    assert "DequantizeLinear" in {node.op_type for node in onnx.load(tmp_path / "small.onnx").graph.node}
    assert_same(site, tmp_path / "small.onnx", SIDE, OWN)


def graph_of(file: Path, side: int, *nodes: onnx.NodeProto, **weights: tuple[int, ...]) -> Path:
    rng = np.random.default_rng(1)
    constants = [
        numpy_helper.from_array((rng.normal(size=shape) / max(np.prod(shape[1:]), 1) ** 0.5).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    constants.append(numpy_helper.from_array(np.array([-2, -1], np.int64), "places"))
    shape = ["batch", 3, side, side]
    inputs = [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)]
    graph = helper.make_graph(list(nodes), "some", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, file)
    return file


@needs_node
def test_odd_shapes_are_computed(site: Path, tmp_path: Path) -> None:
    """Channels that fill no vector, frames of one side only, sums of what came long before, limits after a sum."""
    node = helper.make_node
    file = graph_of(
        tmp_path / "odd.onnx",
        21,
        node("Conv", ["pixel_values", "one", "one_bias"], ["first"], pads=[0, 2, 1, 0], strides=[2, 1]),
        node("Relu", ["first"], ["a"]),
        node("Conv", ["a", "two"], ["b"], pads=[2, 2, 2, 2], group=5),
        node("Conv", ["b", "three", "three_bias"], ["c"], pads=[1, 1, 1, 1]),
        node("Add", ["a", "c"], ["sum"]),
        node("Relu", ["sum"], ["d"]),
        node("Conv", ["d", "four"], ["e"], group=5, strides=[1, 2], pads=[0, 1, 0, 1]),
        node("Conv", ["e", "five"], ["f"]),
        node("ReduceMean", ["f", "places"], ["mean"], keepdims=1),
        node("Flatten", ["mean"], ["flat"]),
        node("Gemm", ["flat", "six", "six_bias"], ["logits"]),
        one=(5, 3, 3, 2),
        one_bias=(5,),
        two=(5, 1, 5, 5),
        three=(5, 5, 3, 3),
        three_bias=(5,),
        four=(5, 1, 1, 3),
        five=(11, 5, 1, 1),
        six=(11, 4),
        six_bias=(4,),
    )
    assert_same(site, file, 21, OWN)
    assert_same(site, file, 21, OWN, threads=2, runs=30)


@needs_node
@pytest.mark.parametrize(
    "nodes",
    [
        [("Conv", ["pixel_values", "w"], {"dilations": [2, 2]}), ("GlobalAveragePool", ["0"], {})],
        [("Conv", ["pixel_values", "w"], {}), ("HardSwish", ["0"], {}), ("GlobalAveragePool", ["1"], {})],
        [("Conv", ["pixel_values", "w"], {}), ("Relu", ["0"], {}), ("Add", ["0", "1"], {})],  # two of one
        [("GlobalAveragePool", ["pixel_values"], {}), ("Flatten", ["0"], {}), ("Softmax", ["1"], {})],
    ],
)  # fmt: skip
def test_other_operations_are_for_onnx_runtime(
    site: Path, tmp_path: Path, nodes: list[tuple[str, list[str], dict[str, Any]]]
) -> None:
    made = [
        helper.make_node(op, inputs, ["logits" if k == len(nodes) - 1 else str(k)], **settings)
        for k, (op, inputs, settings) in enumerate(nodes)
    ]
    assert_same(site, graph_of(tmp_path / "other.onnx", 12, *made, w=(4, 3, 3, 3)), 12, ORT)


def test_a_visit_fetches_no_more_than_its_model_needs(
    browser: Browser,  # noqa: F811
    address: str,  # noqa: F811
    site: Path,
    saved: Path,
    slices: list[Path],  # noqa: F811
) -> None:
    """Two threads in Chromium, the answers of Python, and little to fetch."""
    page, requests, faults = opened(browser, address)
    assert int(page.get_attribute("body", "data-ready") or 0) > 1
    page.set_input_files("#files", slices[:20])
    page.wait_for_selector("body[data-finished='1']", timeout=60_000)
    with page.expect_download() as download:
        page.click("#csv")
    with Path(download.value.path()).open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = list(brainmri.load_model(saved).predict_many(slices[:20]))
    assert np.ptp([list(one.probabilities.values()) for one in expected], axis=0).max() > 10 * CLOSE
    for found, one in zip(rows, expected, strict=True):
        assert found["predicted"] == one.label
        assert [float(found[f"p_{name}"]) for name in one.probabilities] == pytest.approx(
            list(one.probabilities.values()), abs=CLOSE
        )
    names = {url.rsplit("/", 1)[-1] or "index.html" for url in requests if not url.startswith("blob:")}
    assert NETWORK in names
    assert not [name for name in names if name.startswith("ort")]
    assert sum(packed(site / name) for name in names - {NETWORK, MODEL}) < 700_000
    assert faults == []


def test_the_page_that_is_one_file_has_it_too(browser: Browser, site: Path, slices: list[Path]) -> None:  # noqa: F811
    page, _, faults = opened(browser, (site / SINGLE).as_uri(), offline=True)
    page.set_input_files("#files", [slices[0]])
    page.wait_for_selector("#said .sentence")
    assert faults == []


# What a graphics processor says: the same, the same but late, something else, and something until it is gone.
CHOICE = """
import { readFileSync } from "node:fs";
const [page, image] = process.argv.slice(1);
const core = await import(`file://${page}/worker.js`);
core.readAssetsBy(async (name) => new Uint8Array(readFileSync(`${page}/${name}`)));
const slices = await core.openOne(new Uint8Array(readFileSync(image)), image);
const drawn = await slices.draw(slices.planes[0].name, 0);
const used = {};
for (const kind of ["same", "late", "other", "gone"]) {
  const engine = await core.Engine.start("", 1);
  const judged = async () => (await engine.judge([drawn], [["", ""]]))[0].answer.probabilities;
  const own = await judged();
  let there = true;
  const known = new Map();
  await engine.tryGpu(async () => ({
    runtime: "WebGPU",
    run: async ([pixels], withMaps) => {
      if (!there) throw new Error("lost");
      const key = pixels.join();
      if (!known.has(key)) known.set(key, (await engine.network.run([pixels], true))[0]);
      const found = known.get(key);
      if (kind === "late") await new Promise((done) => setTimeout(done, 500));
      return [kind === "other" ? { ...found, logits: found.logits.map((value, k) => value + 0.02 * k) } : found];
    },
  }));
  used[kind] = [engine.usesGpu];
  there = kind !== "gone";
  const again = await judged();
  used[kind].push(engine.usesGpu, again.every((value, k) => Math.abs(value - own[k]) < 1e-9));
}
console.log(JSON.stringify(used));
process.exit(0);
"""


@needs_node
def test_a_graphics_processor_is_used_where_it_says_the_same_sooner(site: Path, slices: list[Path]) -> None:  # noqa: F811
    assert NODE
    command = [NODE, "--input-type=module", "-e", CHOICE, str(site), str(slices[0])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "same": [True, True, True],
        "late": [False, False, True],
        "other": [False, False, True],
        "gone": [True, False, True],
    }


ON_GPU = """async ({ file, pixels }) => {
  const core = await import("./worker.js");
  const bytes = Uint8Array.from(atob(pixels), (one) => one.charCodeAt(0));
  const network = await core.openByGpu(async () => new Uint8Array(await (await fetch(file)).arrayBuffer()), true);
  if (!network) return null;
  const [{ logits, features, maps }] = await network.run([new Float32Array(bytes.buffer)], true);
  return { logits: Array.from(logits), features: Array.from(features), maps: Array.from(maps.values) };
}"""


def test_a_graphics_processor_gives_what_onnx_runtime_gives(browser: Browser, address: str, site: Path) -> None:  # noqa: F811
    """By Chromium's processor in software, which the page itself leaves alone: it is never sooner."""
    with browser.browser_type.launch(
        executable_path=chromium(), args=["--no-sandbox", "--enable-unsafe-webgpu", "--enable-unsafe-swiftshader"]
    ) as other:
        page, _, faults = opened(other, address)
        page.wait_for_selector("body[data-gpu]", timeout=30_000)
        assert page.get_attribute("body", "data-gpu") == "false"
        pixels = pixels_of(SIDE, 1)
        said = {"file": NETWORK, "pixels": base64.b64encode(pixels.tobytes()).decode()}
        found = page.evaluate(ON_GPU, said)
        assert faults == []
    if found is None:
        pytest.skip("this Chromium has no WebGPU in software")
    session = onnx_session(site / NETWORK)
    for output, expected in zip(session.get_outputs(), session.run(None, {"pixel_values": pixels}), strict=True):
        np.testing.assert_allclose(found[output.name], expected.ravel(), rtol=1e-3, atol=1e-4, err_msg=output.name)


def packed(file: Path) -> int:
    return file.stat().st_size if file.suffix == ".gz" else len(gzip.compress(file.read_bytes()))
