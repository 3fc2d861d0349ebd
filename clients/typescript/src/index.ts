export { createDocketClient } from "./client.js";
export type { Docket, DocketOptions, Raw } from "./client.js";
export { DocketNetworkError, DocketProblem, isDocketProblem, problemCodes } from "./errors.js";
export type { KnownProblemCode, ProblemCode } from "./errors.js";
export type { RetryOptions } from "./retry.js";
export type { components, operations, paths } from "./schema.gen.js";
export type {
  CallOptions,
  ChangeOptions,
  Created,
  CreateOptions,
  Found,
  NotModified,
  ReadOptions,
  Tasks,
} from "./tasks.js";
export type { GetToken } from "./tokens.js";
export type {
  Fault,
  Fetch,
  ListFilters,
  NewTask,
  Priority,
  Problem,
  Task,
  TaskChanges,
  TaskList,
  WalkFilters,
} from "./types.js";
