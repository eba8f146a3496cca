export { Client } from "./client.js";
export { midiBytes } from "./bytes.js";
export {
  BadRequest,
  CannotBeDone,
  Conflict,
  ConnectionFailed,
  Forbidden,
  MidiFactoryError,
  NotAcceptable,
  NotFound,
  NotInService,
  ProblemError,
  RequestTooSlow,
  ServerMistake,
  TookTooLong,
  TooLarge,
  TooManyRequests,
  Unauthorized,
} from "./errors.js";
export type { ProblemDetails } from "./errors.js";
export type * from "./types.js";
export type { components, paths } from "./schema.js";
