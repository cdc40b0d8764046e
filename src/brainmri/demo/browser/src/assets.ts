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
  return packed[0] === 0x1f && packed[1] === 0x8b ? gunzip(packed) : packed;
}

export async function gunzip(packed: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([packed as BlobPart]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
