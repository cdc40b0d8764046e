import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "fflate";
import { defineConfig, type Plugin } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const OUT = process.env["BRAINMRI_BROWSER_OUT"] ?? here("../static/browser");
const WASM = {
  "ort.wasm.gz": "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
  "jpeg.wasm.gz": "node_modules/@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm",
};

/** The files that are copied: the page, its style and service worker as they are, programs packed, the same each time. */
const beside: Plugin = {
  name: "beside",
  writeBundle() {
    rmSync(`${OUT}/assets`, { recursive: true, force: true }); // jpeg.wasm.gz holds it
    mkdirSync(OUT, { recursive: true });
    for (const name of ["index.html", "style.css", "sw.js", "icon.svg"]) copyFileSync(here(name), `${OUT}/${name}`);
    copyFileSync(here("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.mjs"), `${OUT}/ort.mjs`);
    for (const [name, from] of Object.entries(WASM))
      writeFileSync(`${OUT}/${name}`, gzipSync(readFileSync(here(from)), { level: 9, mtime: 0 }));
  },
};

/**
 * Three bundles, each in one file: `vite build --mode main`, which empties the folder first, `--mode worker`, and
 * `--mode inside`: the worker of the page that is one file. From a disk a browser starts no worker that is a module, and
 * imports nothing, so that it is a plain script with ONNX Runtime's own one inside.
 */
export default defineConfig(({ mode }) => ({
  plugins: mode === "inside" ? [beside] : [],
  define: mode === "inside" ? { "import.meta.url": '"https://localhost/"' } : {},
  resolve: {
    alias: { "onnxruntime-web/wasm": here(`node_modules/onnxruntime-web/dist/ort.wasm${mode === "inside" ? ".bundle" : ""}.min.mjs`) },
  },
  build: {
    outDir: OUT,
    emptyOutDir: mode === "main",
    target: "es2022",
    modulePreload: false,
    copyPublicDir: false,
    rollupOptions: {
      input: here(`src/${mode === "inside" ? "worker" : mode}.ts`),
      preserveEntrySignatures: "strict",
      output: { entryFileNames: `${mode}.js`, format: mode === "inside" ? "iife" : "es", name: "demo", codeSplitting: false },
    },
  },
}));
