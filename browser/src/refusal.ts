/** The visitor has stopped the work. */
export class Stopped extends Error {}

/** A file that cannot be used, with the key of the sentence that says why and what to do (texts.ts). */
export class Refusal extends Error {
  constructor(
    readonly key: string,
    readonly values: readonly string[] = [],
  ) {
    super(key);
  }
}
