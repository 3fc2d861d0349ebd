import {
  defined,
  given,
  pagesOf,
  segment,
  type CallOptions,
  type Core,
  type NotModified,
  type ReadOptions,
  type Result,
} from "./core.js";
import type { components, operations } from "./schema.gen.js";

type Schemas = components["schemas"];

/** A tag, and how many tasks have it. */
export type Tag = Schemas["Tag"];
/** One page of tags. */
export type TagList = Schemas["TagList"];
/** How many tasks a call has changed. */
export type TagChange = Schemas["TagChange"];

/** The parameters of a list of tags. Those that are empty are left out. */
export type TagFilters = {
  [K in keyof TagQuery]?: TagQuery[K] | "" | null | undefined;
};

type TagQuery = NonNullable<operations["listTags"]["parameters"]["query"]>;

/** The tags of one owner. The methods throw what those of Tasks throw, and TypeError for a name that is empty, `.` or `..`. */
export interface Tags {
  /** Returns one page, by name. It is retried after every temporary failure. */
  list(filters?: TagFilters, options?: CallOptions & { ifNoneMatch?: never }): Promise<Result<TagList>>;
  list(filters: TagFilters | undefined, options: ReadOptions): Promise<Result<TagList> | NotModified>;

  /** Yields all tags in order, requesting one page after the other. */
  all(filters?: Pick<TagFilters, "limit">, options?: CallOptions): AsyncGenerator<Tag, void, undefined>;

  /**
   * Gives a tag another name in all tasks. If there is a tag of that name, the two become one. It is retried only if it is
   * certain that nothing was changed: meanwhile, others may have created a tag of the old name.
   */
  rename(name: string, newName: string, options?: CallOptions): Promise<TagChange>;

  /** Takes a tag away from all tasks. It is retried like `rename`. */
  delete(name: string, options?: CallOptions): Promise<TagChange>;
}

export function tagsOf(core: Core): Tags {
  const { raw } = core;
  const collection = "/api/{user_id}/tags";
  const item = "/api/{user_id}/tags/{name}";

  async function list(filters: TagFilters = {}, options: CallOptions & { ifNoneMatch?: string | undefined } = {}) {
    const { signal, ifNoneMatch } = options;
    const path = { user_id: await core.owner(options) };
    const params = { path, query: given(filters) as TagQuery, header: defined({ "If-None-Match": ifNoneMatch }) };
    return core.read(raw.GET(collection, { params, ...defined({ signal }) }));
  }

  async function changeOf(name: string, options: CallOptions) {
    const path = { user_id: await core.owner(options), name: segment(name, "name of a tag") };
    return { params: { path }, ...defined({ signal: options.signal }) };
  }

  const tags: Tags = {
    list: list as Tags["list"], // there is no 304 without ifNoneMatch

    async *all(filters, options) {
      for await (const page of pagesOf((cursor) => tags.list({ ...filters, cursor }, options))) {
        yield* page.tags;
      }
    },

    async rename(name, newName, options = {}) {
      const call = raw.PATCH(item, { ...(await changeOf(name, options)), body: { name: newName } });
      return (await core.change(call)).data;
    },

    async delete(name, options = {}) {
      return (await core.change(raw.DELETE(item, await changeOf(name, options)))).data;
    },
  };
  return tags;
}
