"""How fast the demo in the browser is, beside ONNX Runtime's native speed, and what it requests.

    python -m benchmarks.browser_demo SITE SLICE VOLUME [--shots DIR]

SITE is what `brainmri demo --static SITE` wrote. Needs Chromium, and playwright and axe-playwright-python of the
extra "dev". The network is closed once the page is ready, and everything after that is done without it.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import http.server
import json
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

LONG_TASKS = """(() => {
  window.longest = 0;
  const take = (one) => { window.longest = Math.max(window.longest, one.duration); };
  const seen = (list) => list.getEntries().forEach(take);
  new PerformanceObserver(seen).observe({entryTypes: ['longtask']});
})()"""
# Judges the slice anew, with its map, and takes the milliseconds from the page.
AGAIN = """async (count) => {
  const found = [];
  const place = document.getElementById('said').parentElement;
  for (let k = 0; k < count; k++) {
    const said = new Promise((done) => {
      new MutationObserver((_, me) => { me.disconnect(); done(); }).observe(place, {childList: true});
    });
    document.getElementById('map-class').dispatchEvent(new Event('change'));
    await said;
    found.push(Number(document.querySelector('details p:last-child').textContent.split(' ')[0]));
  }
  return found;
}"""
RUNS, TURNS = 20, 8


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


def packed(file: Path) -> int:
    return file.stat().st_size if file.suffix == ".gz" else len(gzip.compress(file.read_bytes()))


def native_network(network: Path, threads: int) -> Callable[[int], list[float]]:
    """Takes the times of so many images, in milliseconds."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    side = json.loads((network.parent / "model.json").read_text())["pixels"]
    pixels = np.random.default_rng(0).normal(size=(1, 3, side["height"], side["width"])).astype(np.float32)

    def times(count: int) -> list[float]:
        found = []
        for _ in range(count):
            started = time.perf_counter()
            session.run(["logits", "features"], {"pixel_values": pixels})
            found.append(1000 * (time.perf_counter() - started))
        return found

    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path)
    parser.add_argument("slice", type=Path)
    parser.add_argument("volume", type=Path)
    parser.add_argument("--shots", type=Path, help="folder for screenshots")
    parser.add_argument("--browser", default="/usr/bin/chromium")
    arguments = parser.parse_args()

    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    site: Path = arguments.site
    record = json.loads((site / "model.json").read_text())
    Handler.extensions_map[".mjs"] = "text/javascript"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.browser)
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        requests: list[str] = []
        context.on("request", lambda request: requests.append(request.url))
        page = context.new_page()
        page.on("console", lambda message: print("console:", message.text))
        page.add_init_script(LONG_TASKS)
        started = time.perf_counter()
        page.goto(f"http://127.0.0.1:{server.server_port}/", wait_until="commit")
        page.wait_for_selector("body[data-ready]")
        ready = time.perf_counter() - started
        page.set_input_files("#files", arguments.slice)
        page.wait_for_selector("#said .sentence")
        print(f"first visit: ready after {ready:.2f} s, first answer after {time.perf_counter() - started:.2f} s")
        threads = int(page.get_attribute("body", "data-ready") or 1)
        before_closing = len(requests)
        server.shutdown()
        server.server_close()
        context.set_offline(True)
        native_times = native_network(site / "model.onnx", threads)
        page.evaluate(AGAIN, RUNS)
        mine, native = [], []
        for _ in range(TURNS):  # in turns, so that other work on the machine meets both
            mine += page.evaluate(AGAIN, RUNS)
            native += native_times(RUNS)
        for name, of in (("best", min), ("median", statistics.median)):
            print(
                f"a slice with preprocessing and map, {threads} threads, {name}: {of(mine):.1f} ms; native network "
                f"{of(native):.1f} ms; ratio {of(mine) / of(native):.1f}"
            )
        started = time.perf_counter()
        page.set_input_files("#files", arguments.volume)
        page.wait_for_selector("body[data-finished='2']", timeout=120_000)
        took = time.perf_counter() - started
        page.locator("td button").last.click()
        page.wait_for_selector("#patient")
        slices = page.get_attribute("#slider", "max")
        print(f"{slices} slices of {arguments.volume.name}: {took:.1f} s; {page.inner_text('#patient .sentence')}")
        print(f"longest task of the page's own thread: {page.evaluate('window.longest'):.0f} ms")
        # That such a task would be seen: one is made.
        page.evaluate("setTimeout(() => { const end = performance.now() + 150; while (performance.now() < end); })")
        page.wait_for_timeout(600)
        print(f"one that was made to take 150 ms: {page.evaluate('window.longest'):.0f} ms")
        print(f"axe: {Axe().run(page).violations_count} violations")
        if arguments.shots:
            arguments.shots.mkdir(parents=True, exist_ok=True)
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                for width in (1280, 390):
                    page.set_viewport_size({"width": width, "height": 900})
                    page.wait_for_timeout(300)
                    page.screenshot(path=arguments.shots / f"{scheme}-{width}.png", full_page=True)
                    wide = page.evaluate("document.documentElement.scrollWidth")
                    print(f"{scheme} {width}: {wide} pixels wide, axe {Axe().run(page).violations_count}")
        page.reload()
        page.wait_for_selector("body[data-ready]")
        page.set_input_files("#files", arguments.slice)
        page.wait_for_selector("#said .sentence")
        print("loaded again without a network: answers")
        hosts = sorted({url.split("/")[2] for url in requests if not url.startswith(("blob:", "data:"))})
        names = sorted({url.rsplit("/", 1)[-1] or "index.html" for url in requests[:before_closing]})
        size = sum(packed(site / name) for name in set(names) - {record["network"], "model.json"})
        print(f"fetched without the model: {size / 1e3:.0f} kB packed")
        print(f"{before_closing} requests before the network was closed, hosts {hosts}, files {names}")
        print(f"storage: {page.evaluate('[localStorage.length, sessionStorage.length, document.cookie.length]')}")
        browser.close()


if __name__ == "__main__":
    main()
