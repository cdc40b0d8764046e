/** What the worker of the page uses, and the tests in Node. */
export { answerOf, globalStatistics, preprocessed } from "./answer";
export { asset, readAssetsBy } from "./assets";
export { doubtsOf } from "./texts";
export { Engine, laidOver } from "./engine";
export { openByGpu } from "./gpu";
export { kernelsOf, openNetwork } from "./network";
export { openMany, openOne } from "./open";
export { patientAnswer } from "./pooling";
export { Refusal } from "./refusal";
export { sentencesOf, texts } from "./texts";
