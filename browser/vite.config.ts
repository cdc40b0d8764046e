import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";
import { gzipSync } from "fflate";
import { defineConfig, type Plugin } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const OUT = process.env["BRAINMRI_BROWSER_OUT"] ?? here("../src/brainmri/demo/static/browser");
const WASM = {
  "ort.wasm.gz": "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
  "jpeg.wasm.gz": "node_modules/@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm",
  "jpeg2000.wasm.gz": "node_modules/@cornerstonejs/codec-openjpeg/dist/openjpegwasm_decode.wasm",
  "jpegls.wasm.gz": "node_modules/@cornerstonejs/codec-charls/dist/charlswasm_decode.wasm",
};

const PACKAGES = ["onnxruntime-web", "@cornerstonejs/codec-charls", "@cornerstonejs/codec-openjpeg", "@jsquash/jpeg", "dicom-parser", "fflate", "jpeg-lossless-decoder-js"];

const MIT = `Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;

/** The licences of what is in the bundles. */
function licences(): string {
  return PACKAGES.map((name) => {
    const folder = here(`node_modules/${name}`);
    const own = readdirSync(folder).find((one) => /^licen[cs]e/i.test(one));
    const { version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8")) as Record<string, string>;
    const file = own ? `${folder}/${own}` : name.startsWith("@cornerstonejs/") ? here("node_modules/@cornerstonejs/codec-charls/LICENSE") : "";
    const text = file ? readFileSync(file, "utf8").trim() : MIT; // of ONNX Runtime, whose package has no file of it
    return `${name} ${version}: ${license}\n\n${text}\n`;
  }).concat(readFileSync(here("NOTICES.txt"), "utf8")).join(`\n${"-".repeat(80)}\n\n`);
}

/** The SHA-256 of every file, beside their folder, as `sha256sum -c` reads them: only these files are copied and published. */
function record(): void {
  const lines = readdirSync(OUT).sort().map((name) => `${createHash("sha256").update(readFileSync(`${OUT}/${name}`)).digest("hex")}  ${name}\n`);
  writeFileSync(`${OUT}.sha256`, lines.join(""));
}

/** The files that are copied: the page, its style and service worker as they are, programs packed, the same each time. */
const beside: Plugin = {
  name: "beside",
  writeBundle() {
    rmSync(`${OUT}/assets`, { recursive: true, force: true }); // jpeg.wasm.gz holds it
    mkdirSync(OUT, { recursive: true });
    for (const name of ["index.html", "style.css", "sw.js", "icon.svg"]) copyFileSync(here(name), `${OUT}/${name}`);
    writeFileSync(`${OUT}/LICENSES.txt`, licences());
    copyFileSync(here("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.mjs"), `${OUT}/ort.mjs`);
    for (const [name, from] of Object.entries(WASM))
      writeFileSync(`${OUT}/${name}`, gzipSync(readFileSync(here(from)), { level: 9, mtime: 0 }));
    record();
  },
};

/** The module "virtual:kernels": the convolutions, compiled with and without fused multiplications and additions. */
const kernels: Plugin = {
  name: "kernels",
  resolveId: (name) => (name === "virtual:kernels" ? name : null),
  async load(name) {
    if (name !== "virtual:kernels") return null;
    const compiled = async (...more: string[]) => {
      let found: Uint8Array | string = "";
      const memory = ["--importMemory", "--noExportMemory", "--sharedMemory", "--initialMemory", "1", "--maximumMemory", "65536"];
      const options = ["-O3", "--runtime", "stub", "--use", "abort=", "--enable", "simd", "--enable", "threads", ...memory, ...more];
      const { error, stderr } = await asc.main([here("kernels/kernels.ts"), "--outFile", "out.wasm", ...options], {
        writeFile: (_name, contents) => void (found = contents),
      });
      if (error) throw new Error(`${error.message}\n${stderr.toString()}`);
      return JSON.stringify(Buffer.from(found).toString("base64"));
    };
    return `export const plain = ${await compiled()}; export const relaxed = ${await compiled("--enable", "relaxed-simd")};`;
  },
};

/**
 * Five bundles, each in one file: `vite build --mode main`, which empties the folder first, `--mode worker`, `--mode
 * codecs` with the decoders that few visitors need, `--mode ort` with ONNX Runtime's own script, which few networks need, and
 * `--mode inside`: the worker of the page that is one file. From a disk a browser starts no worker that is a module, and
 * imports nothing, so that it is a plain script with all of them inside.
 */
export default defineConfig(({ mode }) => ({
  plugins: mode === "inside" ? [kernels, beside] : [kernels],
  // The decoders would look for Node's modules; they get their files handed.
  define: mode === "codecs" ? { "process.versions": "undefined" } : mode === "inside" ? { "import.meta.url": '"https://localhost/"' } : {},
  resolve: {
    alias: {
      ...(mode === "inside" ? { "brainmri-codecs": here("src/codecs.ts"), "brainmri-ort": here("src/ort.ts") } : {}),
      "onnxruntime-web/wasm": here(`node_modules/onnxruntime-web/dist/ort.wasm${mode === "inside" ? ".bundle" : ""}.min.mjs`) },
  },
  build: {
    outDir: OUT,
    emptyOutDir: mode === "main",
    target: "es2022",
    modulePreload: false,
    copyPublicDir: false,
    rollupOptions: {
      input: here(`src/${mode === "inside" ? "worker" : mode}.ts`),
      external: mode === "inside" ? [] : ["brainmri-codecs", "brainmri-ort"],
      preserveEntrySignatures: "strict",
      output: { paths: { "brainmri-codecs": "./codecs.js", "brainmri-ort": "./ort.js" }, entryFileNames: `${mode}.js`, format: mode === "inside" ? "iife" : "es", name: "demo", codeSplitting: false },
    },
  },
}));
