/**
 * The convolutions of the page's own runtime (AssemblyScript, compiled to WebAssembly with SIMD): they run the program
 * that `src/program.ts` lays into the memory, on one thread or on several that share it.
 *
 * Values lie pixel by pixel, the channels of each together. Tables hold, for each pixel that a step makes, the addresses
 * of its first input and of its own place, so that strides and frames cost nothing here. Pixels are made five at a time;
 * the tables are filled up to whole fives with their last pixel.
 */

// Where things stand: what threads wait for, the number of steps, then a record for each step.
const TICK: usize = 64; // number of the step, of all since the start
const STEPS: usize = 128;
const FIRST: usize = 192;
const SIZE: usize = 128;
// Of a record, in bytes:
const DEPTHWISE: usize = 0; // whether each channel goes into itself only
const FROM: usize = 4; // table of the first inputs
const TO: usize = 8; // table of the results
const PLUS: usize = 12; // table of what is added before the limits, 0 for nothing
const FIVES: usize = 16;
const GROUPS: usize = 20; // of eight channels; of four where each goes into itself
const FIVES_A_PART: usize = 24;
const GROUPS_A_PART: usize = 28;
const PARTS: usize = 32;
const WEIGHTS: usize = 36;
const BIAS: usize = 40;
const ROWS: usize = 44; // of the kernel
const LENGTH: usize = 48; // of a row of the kernel: in values; in pixels where each channel goes into itself
const ROW: usize = 52; // bytes from a row of the inputs to the next
const PIXEL: usize = 56; // bytes from a pixel of the inputs to the next
const LOW: usize = 60;
const HIGH: usize = 64;
// The frame of zeros around the results, which lie where others were before: 0 for none.
const FRAME: usize = 68; // its first byte
const ABOVE: usize = 72; // bytes before the first pixel
const BETWEEN: usize = 76; // bytes from the last pixel of a row to the first of the next
const LINE: usize = 80; // bytes from a row to the next
const LINES: usize = 84;
const BELOW: usize = 88; // bytes behind the last pixel
const TAKEN: usize = 96; // parts that threads have begun
const DONE: usize = 100;

const LOOKS: i32 = 4000; // of a waiting thread before it sleeps
const NAP: i64 = 100_000; // nanoseconds

// @ts-ignore: decorator
@inline
function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/** Bias, and what is added to the pixel of the five. */
// @ts-ignore: decorator
@inline
function begun(bias: v128, table: usize, pixel: usize, at: usize): v128 {
  return table ? f32x4.add(bias, v128.load(<usize>load<u32>(table + pixel) + at)) : bias;
}

// @ts-ignore: decorator
@inline
function put(value: v128, table: usize, pixel: usize, at: usize, low: v128, high: v128): void {
  v128.store(<usize>load<u32>(table + pixel) + at, f32x4.pmin(high, f32x4.pmax(low, value)));
}

/** All channels into all: fives [p0, p1) of pixels, groups [g0, g1) of eight channels. */
function dense(step: usize, p0: i32, p1: i32, g0: i32, g1: i32): void {
  const low = v128.load32_splat(step, LOW), high = v128.load32_splat(step, HIGH);
  const from = <usize>load<u32>(step, FROM), to = <usize>load<u32>(step, TO), plus = <usize>load<u32>(step, PLUS);
  const rows = load<i32>(step, ROWS), length = load<i32>(step, LENGTH);
  const skip = <usize>load<u32>(step, ROW) - 4 * length;
  for (let g = g0; g < g1; g++) {
    const weights = <usize>load<u32>(step, WEIGHTS) + 32 * g * rows * length;
    const at = <usize>(32 * g), more = at + 16;
    const bias = <usize>load<u32>(step, BIAS) + at;
    const one = v128.load(bias), two = v128.load(bias, 16);
    for (let p: usize = 20 * p0; p < <usize>(20 * p1); p += 20) {
      let a = <usize>load<u32>(from + p), b = <usize>load<u32>(from + p, 4), c = <usize>load<u32>(from + p, 8), d = <usize>load<u32>(from + p, 12), e = <usize>load<u32>(from + p, 16);
      let a1 = begun(one, plus, p, at), a2 = begun(two, plus, p, more);
      let b1 = begun(one, plus, p + 4, at), b2 = begun(two, plus, p + 4, more);
      let c1 = begun(one, plus, p + 8, at), c2 = begun(two, plus, p + 8, more);
      let d1 = begun(one, plus, p + 12, at), d2 = begun(two, plus, p + 12, more);
      let e1 = begun(one, plus, p + 16, at), e2 = begun(two, plus, p + 16, more);
      let w = weights;
      for (let row = 0; row < rows; row++) {
        let k = length;
        for (; k >= 4; k -= 4) {
          let w1 = v128.load(w), w2 = v128.load(w, 16), x = v128.load32_splat(a);
          a1 = madd(x, w1, a1); a2 = madd(x, w2, a2); x = v128.load32_splat(b);
          b1 = madd(x, w1, b1); b2 = madd(x, w2, b2); x = v128.load32_splat(c);
          c1 = madd(x, w1, c1); c2 = madd(x, w2, c2); x = v128.load32_splat(d);
          d1 = madd(x, w1, d1); d2 = madd(x, w2, d2); x = v128.load32_splat(e);
          e1 = madd(x, w1, e1); e2 = madd(x, w2, e2);
          w1 = v128.load(w, 32); w2 = v128.load(w, 48); x = v128.load32_splat(a, 4);
          a1 = madd(x, w1, a1); a2 = madd(x, w2, a2); x = v128.load32_splat(b, 4);
          b1 = madd(x, w1, b1); b2 = madd(x, w2, b2); x = v128.load32_splat(c, 4);
          c1 = madd(x, w1, c1); c2 = madd(x, w2, c2); x = v128.load32_splat(d, 4);
          d1 = madd(x, w1, d1); d2 = madd(x, w2, d2); x = v128.load32_splat(e, 4);
          e1 = madd(x, w1, e1); e2 = madd(x, w2, e2);
          w1 = v128.load(w, 64); w2 = v128.load(w, 80); x = v128.load32_splat(a, 8);
          a1 = madd(x, w1, a1); a2 = madd(x, w2, a2); x = v128.load32_splat(b, 8);
          b1 = madd(x, w1, b1); b2 = madd(x, w2, b2); x = v128.load32_splat(c, 8);
          c1 = madd(x, w1, c1); c2 = madd(x, w2, c2); x = v128.load32_splat(d, 8);
          d1 = madd(x, w1, d1); d2 = madd(x, w2, d2); x = v128.load32_splat(e, 8);
          e1 = madd(x, w1, e1); e2 = madd(x, w2, e2);
          w1 = v128.load(w, 96); w2 = v128.load(w, 112); x = v128.load32_splat(a, 12);
          a1 = madd(x, w1, a1); a2 = madd(x, w2, a2); x = v128.load32_splat(b, 12);
          b1 = madd(x, w1, b1); b2 = madd(x, w2, b2); x = v128.load32_splat(c, 12);
          c1 = madd(x, w1, c1); c2 = madd(x, w2, c2); x = v128.load32_splat(d, 12);
          d1 = madd(x, w1, d1); d2 = madd(x, w2, d2); x = v128.load32_splat(e, 12);
          e1 = madd(x, w1, e1); e2 = madd(x, w2, e2);
          w += 128; a += 16; b += 16; c += 16; d += 16; e += 16;
        }
        for (; k > 0; k--) {
          const w1 = v128.load(w), w2 = v128.load(w, 16);
          let x = v128.load32_splat(a);
          a1 = madd(x, w1, a1); a2 = madd(x, w2, a2); x = v128.load32_splat(b);
          b1 = madd(x, w1, b1); b2 = madd(x, w2, b2); x = v128.load32_splat(c);
          c1 = madd(x, w1, c1); c2 = madd(x, w2, c2); x = v128.load32_splat(d);
          d1 = madd(x, w1, d1); d2 = madd(x, w2, d2); x = v128.load32_splat(e);
          e1 = madd(x, w1, e1); e2 = madd(x, w2, e2);
          w += 32; a += 4; b += 4; c += 4; d += 4; e += 4;
        }
        a += skip; b += skip; c += skip; d += skip; e += skip;
      }
      put(a1, to, p, at, low, high); put(a2, to, p, more, low, high);
      put(b1, to, p + 4, at, low, high); put(b2, to, p + 4, more, low, high);
      put(c1, to, p + 8, at, low, high); put(c2, to, p + 8, more, low, high);
      put(d1, to, p + 12, at, low, high); put(d2, to, p + 12, more, low, high);
      put(e1, to, p + 16, at, low, high); put(e2, to, p + 16, more, low, high);
    }
  }
}

/** Each channel into itself: fives [p0, p1) of pixels, groups [g0, g1) of four channels. */
function depthwise(step: usize, p0: i32, p1: i32, g0: i32, g1: i32): void {
  const low = v128.load32_splat(step, LOW), high = v128.load32_splat(step, HIGH);
  const from = <usize>load<u32>(step, FROM), to = <usize>load<u32>(step, TO), plus = <usize>load<u32>(step, PLUS);
  const rows = load<i32>(step, ROWS), length = load<i32>(step, LENGTH);
  const pixel = <usize>load<u32>(step, PIXEL), skip = <usize>load<u32>(step, ROW) - pixel * length;
  for (let p: usize = 20 * p0; p < <usize>(20 * p1); p += 20) {
    const a = <usize>load<u32>(from + p), b = <usize>load<u32>(from + p, 4), c = <usize>load<u32>(from + p, 8), d = <usize>load<u32>(from + p, 12), e = <usize>load<u32>(from + p, 16);
    let w = <usize>load<u32>(step, WEIGHTS) + 16 * g0 * rows * length;
    for (let g = g0; g < g1; g++) {
      const at = <usize>(16 * g);
      const bias = v128.load(<usize>load<u32>(step, BIAS) + at);
      let a1 = begun(bias, plus, p, at), b1 = begun(bias, plus, p + 4, at), c1 = begun(bias, plus, p + 8, at), d1 = begun(bias, plus, p + 12, at), e1 = begun(bias, plus, p + 16, at);
      let place = at;
      for (let row = 0; row < rows; row++) {
        for (let k = 0; k < length; k++) {
          const weight = v128.load(w);
          a1 = madd(v128.load(a + place), weight, a1);
          b1 = madd(v128.load(b + place), weight, b1);
          c1 = madd(v128.load(c + place), weight, c1);
          d1 = madd(v128.load(d + place), weight, d1);
          e1 = madd(v128.load(e + place), weight, e1);
          w += 16;
          place += pixel;
        }
        place += skip;
      }
      put(a1, to, p, at, low, high);
      put(b1, to, p + 4, at, low, high);
      put(c1, to, p + 8, at, low, high);
      put(d1, to, p + 12, at, low, high);
      put(e1, to, p + 16, at, low, high);
    }
  }
}

/** Does parts of a step until none is left. */
function work(step: usize): void {
  const fives = load<i32>(step, FIVES), groups = load<i32>(step, GROUPS);
  const many = load<i32>(step, FIVES_A_PART), wide = load<i32>(step, GROUPS_A_PART);
  const parts = load<i32>(step, PARTS), across = (fives + many - 1) / many;
  for (;;) {
    const part = atomic.add<i32>(step, 1, TAKEN);
    if (part >= parts) return;
    const p = (part % across) * many, g = (part / across) * wide;
    if (load<i32>(step, DEPTHWISE)) depthwise(step, p, min(p + many, fives), g, min(g + wide, groups));
    else dense(step, p, min(p + many, fives), g, min(g + wide, groups));
    if (atomic.add<i32>(step, 1, DONE) + 1 == parts) atomic.notify(step + DONE, 1);
  }
}

function clearFrame(step: usize): void {
  let at = <usize>load<u32>(step, FRAME);
  if (!at) return;
  const between = <usize>load<u32>(step, BETWEEN), line = <usize>load<u32>(step, LINE);
  memory.fill(at, 0, <usize>load<u32>(step, ABOVE));
  at += <usize>load<u32>(step, ABOVE) + line - between;
  for (let y = load<i32>(step, LINES); y > 1; y--, at += line) memory.fill(at, 0, between);
  memory.fill(at, 0, <usize>load<u32>(step, BELOW));
}

/** Runs the program once. A thread that is late finds no part left of a step that is over, so none is waited for. */
export function run(): void {
  const steps = load<i32>(STEPS);
  for (let k = 0; k < steps; k++) {
    const step = FIRST + SIZE * k;
    clearFrame(step);
    atomic.store<i32>(step, 0, DONE);
    atomic.store<i32>(step, 0, TAKEN);
    atomic.add<i32>(TICK, 1);
    atomic.notify(TICK, -1);
    work(step);
    const parts = load<i32>(step, PARTS);
    for (let looks = 0; ; looks++) {
      const done = atomic.load<i32>(step, DONE);
      if (done == parts) break;
      if (looks > LOOKS) atomic.wait<i32>(step + DONE, done, NAP);
    }
  }
}

/** A thread that helps with every run, for ever. */
export function help(): void {
  let seen = 0;
  for (let looks = 0; ; looks++) {
    const tick = atomic.load<i32>(TICK);
    if (tick != seen) {
      seen = tick;
      looks = 0;
      work(FIRST + SIZE * ((tick - 1) % load<i32>(STEPS)));
    } else if (looks > LOOKS) atomic.wait<i32>(TICK, tick, -1);
  }
}
