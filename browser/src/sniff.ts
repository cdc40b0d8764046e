/** What a file is, told by its first bytes and never by its name: `brainmri.io.sniff`. */
import { Refusal } from "./refusal";

export type Kind = "PNG" | "JPEG" | "TIFF" | "BMP" | "WebP" | "GIF" | "DICOM" | "NIfTI" | "gzip" | "ZIP";

const latin1 = new TextDecoder("latin1");
// DICOM without its preamble: the first tag is of group 2 or 8, followed by two capitals or a small length.
const BARE_DICOM = /^(?:[\x02\x08]\0[^]\0(?:[A-Z]{2}|[^][^]\0\0)|\0[\x02\x08]\0[^](?:[A-Z]{2}|\0\0[^][^]))/;
const OTHERS: [RegExp, string][] = [
  [/^%PDF/, "refusedDocument"],
  [/^\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1/, "refusedDocument"],
  [/^(?:MZ|\x7fELF|#!)/, "refusedProgram"],
  [/^(?:7z\xbc\xaf|Rar!|\xfd7zXZ|BZh)/, "refusedArchive"],
  [/^(?:II\x2b\0|MM\0\x2b)/, "refusedBigTiff"],
  [/^(?:\0\0\0\x0cjP {2}|\xff\x4f\xff\x51)/, "refusedJpeg2000"],
  [/^P[1-6][\s#]/, "refusedNetpbm"],
];

export function kindOf(bytes: Uint8Array): Kind {
  if (!bytes.length) throw new Refusal("empty");
  const start = latin1.decode(bytes.subarray(0, 300));
  if (start.slice(128, 132) === "DICM" || BARE_DICOM.test(start)) return "DICOM";
  if (bytes[0] === 0x89 && start.slice(1, 8) === "PNG\r\n\x1a\n") return "PNG";
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return "JPEG";
  if (/^GIF8[79]a/.test(start)) return "GIF";
  if (start.startsWith("RIFF") && start.slice(8, 12) === "WEBP") return "WebP";
  if (/^PK(?:\x03\x04|\x05\x06)/.test(start)) return "ZIP";
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return "gzip";
  if (/^(?:II\x2a\0|MM\0\x2a)/.test(start)) return "TIFF";
  if (start.startsWith("BM") && [12, 40, 52, 56, 64, 108, 124].includes(bytes[14]! | (bytes[15]! << 8))) return "BMP";
  if (/^(?:\x5c\x01\0\0|\0\0\x01\x5c|\x1c\x02\0\0|\0\0\x02\x1c)/.test(start)) return "NIfTI";
  for (const [pattern, key] of OTHERS) if (pattern.test(start)) throw new Refusal(key);
  throw new Refusal("unknownKind");
}
