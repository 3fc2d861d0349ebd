// Tests the generated types: properties that are always present are required, and those that may be null allow null.
import type * as heyAPI from "./build/hey-api";
import type * as orval from "./build/orval/docket";

type Is<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

type Always<T> = Is<Required<T>, T>;

true satisfies Always<heyAPI.Task> & Always<heyAPI.TaskList> & Always<orval.Task> & Always<orval.TaskList>;
true satisfies Is<heyAPI.Task["description"], string | null> & Is<orval.Task["description"], string | null>;
true satisfies Is<heyAPI.NewTask["priority"], "low" | "medium" | "high" | undefined>;
({ title: "Milk" }) satisfies heyAPI.NewTask & orval.NewTask;
({ description: null }) satisfies heyAPI.TaskChanges & orval.TaskChanges;
