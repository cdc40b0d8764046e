/**
 * The files beside the page. From a web server they are fetched; the page that is one file holds them inside, and a
 * program in Node reads them. All wasm files are kept packed by gzip, whatever a server does.
 */
export type Source = (name: string) => Promise<Uint8Array>;

let source: Source = async (name) => {
  const found = await fetch(name);
  if (!found.ok) throw new Error(`${name}: ${found.status}`);
  return new Uint8Array(await found.arrayBuffer());
};

export function readAssetsBy(other: Source): void {
  source = other;
}

export async function asset(name: string): Promise<Uint8Array> {
  if (!name.endsWith(".wasm")) return source(name);
  const packed = await source(`${name}.gz`);
  // Some servers unpack .gz files on the way.
  if (packed[0] !== 0x1f || packed[1] !== 0x8b) return packed;
  return (await gunzip(packed, Infinity))!;
}

/** Unpacked bytes; null for more than `most`, of which no more are unpacked. */
export async function gunzip(packed: Uint8Array, most: number): Promise<Uint8Array | null> {
  const reader = new Blob([packed as BlobPart]).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
  const parts: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > most) {
      await reader.cancel();
      return null;
    }
    parts.push(value);
  }
  const found = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    found.set(part, at);
    at += part.length;
  }
  return found;
}
