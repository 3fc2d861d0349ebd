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
export { addDays, isOverdue, now, startOfDay, today } from "./days.js";
export { DocketNetworkError, DocketProblem, isDocketProblem, problemCodes, translate } from "./errors.js";
export type { KnownProblemCode, ProblemCode } from "./errors.js";
export type { RetryOptions } from "./retry.js";
export type { components, operations, paths } from "./schema.gen.js";
export type { Counts, Stats } from "./stats.js";
export type { Tag, TagChange, TagFilters, TagList, Tags } from "./tags.js";
export type {
  CompleteOptions,
  IterationFilters,
  ListFilters,
  NewTask,
  OccurrenceList,
  Priority,
  Task,
  TaskChanges,
  TaskList,
  Tasks,
} from "./tasks.js";
export type { GetToken } from "./tokens.js";
export type { Fault, Fetch, Problem } from "./types.js";
