/** The worker, from the files beside the page or from those inside it, and the service worker that keeps them. */

export interface Started {
  worker: Worker;
  glue: string;
  threads: number;
  files: Record<string, ArrayBuffer> | null;
}

/** Null where the page is loaded again, with the headers that the service worker adds. */
export async function start(): Promise<Started | null> {
  const inside = document.querySelectorAll<HTMLScriptElement>("script[data-file]");
  if (inside.length) return fromInside(inside);
  if (await loadsAgain()) return null;
  const threads = globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 4) : 1;
  return {
    worker: new Worker(new URL("worker.js", document.baseURI), { type: "module" }),
    glue: new URL("ort.mjs", document.baseURI).href,
    threads,
    files: null,
  };
}

/** On the first visit the page is loaded once more as soon as the service worker is there: threads need its headers. */
async function loadsAgain(): Promise<boolean> {
  if (!("serviceWorker" in navigator) || !isSecureContext) return false;
  try {
    await navigator.serviceWorker.register("sw.js");
    if (navigator.serviceWorker.controller) return false;
    const [navigation] = performance.getEntriesByType("navigation") as PerformanceNavigationTiming[];
    if (globalThis.crossOriginIsolated || navigation?.type === "reload") return false;
    await navigator.serviceWorker.ready;
  } catch {
    return false; // forbidden here: the page works without, but neither offline nor with threads
  }
  location.reload();
  return true;
}

async function fromInside(inside: NodeListOf<HTMLScriptElement>): Promise<Started> {
  const files: Record<string, ArrayBuffer> = {};
  for (const one of inside) {
    files[one.dataset["file"]!] = bytes(one.textContent!).buffer;
    one.remove();
  }
  const address = (name: string) => URL.createObjectURL(new Blob([files[name]!], { type: "text/javascript" }));
  return { worker: new Worker(address("inside.js")), glue: "", threads: 1, files };
}

function bytes(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64.trim());
  const found = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k++) found[k] = text.charCodeAt(k);
  return found;
}
