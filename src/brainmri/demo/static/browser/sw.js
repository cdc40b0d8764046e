// Keeps the files of the program, so that the page works without a network, and adds the headers that a plain web
// server may lack: those by which threads share memory, and the policy that forbids every request elsewhere. Nothing of
// a visitor's pictures comes here.
const VERSION = "VERSION"; // of the files, filled in when they are written
const NAME = `brainmri-${VERSION}`;
const PAGE = ["./", "index.html", "main.js", "worker.js", "style.css", "icon.svg"];
const MODEL = ["model.json", "model.onnx", "model.int8.onnx", "sequence.safetensors", "jpeg.wasm.gz", "jpeg2000.wasm.gz", "jpegls.wasm.gz", "codecs.js", "ort.js", "ort.mjs", "ort.wasm.gz"]; // kept when they are first fetched
const OURS = new Set([...PAGE, ...MODEL].map((name) => new URL(name, self.location).href));
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:; connect-src 'self'; img-src 'self' blob:; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors *",
};

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(PAGE)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const old = (name) => name.startsWith("brainmri-") && name !== NAME;
  event.waitUntil(
    caches.keys().then((names) => Promise.all(names.filter(old).map((name) => caches.delete(name)))).then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  url.search = url.hash = "";
  if (event.request.method !== "GET" || !OURS.has(url.href)) return;
  event.respondWith(answer(event.request));
});

async function answer(request) {
  const cache = await caches.open(NAME);
  let found = await cache.match(request, { ignoreSearch: true });
  if (!found) {
    found = await fetch(request);
    if (!found.ok || found.redirected) return found;
    await cache.put(request, found.clone());
  }
  const headers = new Headers(found.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(found.body, { status: found.status, statusText: found.statusText, headers });
}
