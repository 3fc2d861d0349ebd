export { createDocketClient } from "./client.js";
export type { Docket, DocketOptions } from "./client.js";
export type {
  CallOptions,
  ChangeOptions,
  Created,
  CreateOptions,
  NotModified,
  Raw,
  ReadOptions,
  Result,
} from "./core.js";
export { DocketNetworkError, DocketProblem, isDocketProblem, problemCodes, translate } from "./errors.js";
export type { KnownProblemCode, ProblemCode } from "./errors.js";
export type { RetryOptions } from "./retry.js";
export type { components, operations, paths } from "./schema.gen.js";
export type {
  IterationFilters,
  ListFilters,
  NewTask,
  Priority,
  Task,
  TaskChanges,
  TaskList,
  Tasks,
} from "./tasks.js";
export type { GetToken } from "./tokens.js";
export type { Fault, Fetch, Problem } from "./types.js";
