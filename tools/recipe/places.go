package main

// The made-up field is a task's location, which may be null, with a filter and a sort.

const (
	document   = "openapi.yaml"
	migration  = "migrations/008_task_location.sql"
	storeTask  = "internal/store/task.go"
	storeList  = "internal/store/task_list.go"
	serverTask = "internal/server/task.go"

	members    = "./internal/server TestEveryMemberOfATaskIsStoredAndReturned"
	changes    = "./internal/server TestEveryChangeIsStored"
	parameters = "./internal/server TestEveryQueryParameterOfAListIsApplied"
	sorts      = "./internal/server TestEverySortOrdersBothWaysAndBreaksTiesByID"
	builds     = "build"
)

// places are the manual edits, in the order of docs/architecture.md: a field, a filter, a sort.
var places = []place{
	// The field.
	{
		name: "the member of Task in the document", file: document, found: builds,
		before: "        due_date:\n          $ref: '#/components/schemas/DueDate'\n        due_time:\n          $ref: '#/components/schemas/DueTime'\n",
		text:   "        location:\n          $ref: '#/components/schemas/Location'\n",
	},
	{
		name: "required in the document's Task", file: document, found: "./internal/server TestEveryMemberOfATaskIsRequired",
		replaces: "      required: [id, user_id, title, description, priority, completed, tags, ",
		text:     "      required: [id, user_id, title, description, location, priority, completed, tags, ",
	},
	{
		name: "the member of NewTask in the document", file: document, found: builds,
		before: "        priority:\n          type: string\n          description: '`medium` when absent.'\n",
		text:   "        location:\n          $ref: '#/components/schemas/Location'\n",
	},
	{
		name: "the member of TaskChanges in the document", file: document, found: builds,
		before: "        add_tags:\n",
		text: `        location:
          type: string
          nullable: true
          description: Where it is to be done; null clears it.
          maxLength: 100
          x-go-type: nullable.Nullable[string]
          x-go-type-import:
            path: github.com/oapi-codegen/nullable
          x-go-type-skip-optional-pointer: true
`,
	},
	{
		name: "the representation's version", file: document, found: "./internal/server TestAChangedBodyHasANewRepresentationVersion",
		replaces: "      x-representation-version: 3\n",
		text:     "      x-representation-version: 4\n",
	},
	{
		name: "the column in a migration", file: migration, found: "./internal/store TestTasksHaveEveryColumnOfTheirTable",
		text: "alter table task add column location varchar(100);\n\n---- create above / drop below ----\n\nalter table task drop column location;\n",
	},
	{
		name: "the field of store.TaskFields", file: storeTask, found: builds,
		before: "\tPriority    string   `db:\"priority\" ",
		text:   "\tLocation *string `db:\"location\"`\n",
	},
	{
		name: "the field of store.TaskChanges", file: storeTask, found: builds,
		before: "\tPriority    Optional[string]\n",
		text:   "\tLocation Optional[*string]\n",
	},
	{
		name: "newTask of the server", file: serverTask, found: members,
		before: "\t\tPriority:    text(deref(b.Priority, \"\")),\n",
		text:   "\t\tLocation: b.Location,\n",
	},
	{
		name: "taskChanges of the server", file: serverTask, found: changes,
		before: "\t\tPriority:    optional(b.Priority, text),\n",
		text:   "\t\tLocation: optionalOrNull(b.Location),\n",
	},
	{
		name: "taskOf of the server", file: serverTask, found: members,
		before: "\t\tPriority:       api.Priority(t.Priority),\n",
		text:   "\t\tLocation: t.Location,\n",
	},

	// The filter.
	{
		name: "the filter's parameter in the document", file: document, found: builds,
		before: "        - $ref: '#/components/parameters/SearchFilter'\n",
		text:   "        - $ref: '#/components/parameters/LocationFilter'\n",
	},
	{
		name: "the filter's field of store.TaskQuery", file: storeList, found: builds,
		before: "\tSearch     string ",
		text:   "\tLocation string\n",
	},
	{
		name: "the filter's row: its statement, its list's tag and its cursor", file: storeList, found: parameters,
		before: "\t{\n\t\tname: \"search\", typ: \"text\",\n",
		text:   "\t{name: \"location\", typ: \"text\", sql: \"location = $?\", value: func(q TaskQuery) any { return given(q.Location) }},\n",
	},
	{
		name: "the filter's mapping in the server", file: serverTask, found: parameters,
		before: "\t\tSearch:    deref(p.Search, \"\"),\n",
		text:   "\t\tLocation: deref(p.Location, \"\"),\n",
	},

	// The sort.
	{
		name: "the sort in the document", file: document, found: sorts,
		replaces: "      description: What a list is sorted by.\n      enum: [created, updated, title, priority, due, due_date]\n",
		text:     "      description: What a list is sorted by.\n      enum: [created, updated, title, priority, due, due_date, location]\n",
	},
	{
		name: "the sort's row", file: storeList, found: sorts,
		before: "\t{\n\t\tname: SortPriority,",
		text:   "\t{name: \"location\", key: \"location\", typ: \"text\", value: func(t Task) *string { return t.Location }},\n",
	},
	{
		name: "null order in the sort's row", needs: "the sort's row", file: storeList,
		found:    "./internal/store TestKeysOfSortsAgreeWithPostgreSQL",
		replaces: "return t.Location }},\n",
		text:     "return t.Location }, lowest: \"''\", highest: \"chr(1114111)\"},\n",
	},
	{
		name: "the sort's index in a migration", needs: "the column in a migration", file: migration,
		found:    "./internal/store TestEveryStatementIsServedByAnIndexOfItsOwner",
		replaces: "\n---- create above / drop below ----\n",
		text: `create index idx_task_location on task (user_id, (case when location is null then '' else location end), id);
create index idx_task_location_asc on task (user_id, (case when location is null then chr(1114111) else location end), id);

---- create above / drop below ----
`,
	},
}

// support is never left out: definitions that the document refers to, and changes that the tests need for the field.
var support = []place{
	{file: document, before: "    NewTask:\n      type: object\n", text: `    Location:
      type: string
      nullable: true
      description: Where it is to be done.
      maxLength: 100
`},
	{file: document, before: "    SearchFilter:\n      name: search\n", text: `    LocationFilter:
      name: location
      in: query
      description: Only tasks to be done there.
      schema:
        type: string
        minLength: 1
        maxLength: 100
`},
	{file: document, replaces: "      enum: [created_at, updated_at, title, priority, due_date]\n", text: "      enum: [created_at, updated_at, title, priority, due_date, location]\n"},
	{
		file: "internal/store/plan_test.go", replaces: "insert into task (id, user_id, title, description,",
		text: "insert into task (id, user_id, title, location, description,",
	},
	{
		file: "internal/store/plan_test.go", replaces: "\t'title ' || md5(i::text), repeat(",
		text: "\t'title ' || md5(i::text), case when i % 10 > 0 then 'title ' || md5(i::text) end, repeat(",
	},
	{file: "internal/server/harness_test.go", before: "\t\tPriority    string  `json:\"priority\"`\n", text: "\t\tLocation *string `json:\"location\"`\n"},
	{file: "internal/server/recipe_test.go", before: "\t\"search\":     {query: ", text: "\t\"location\": {query: \"location=place+1\", want: only(func(t task) bool { return t.Location != nil && *t.Location == \"place 1\" })},\n"},
	{file: "internal/server/list_test.go", before: "\t\"priority\": func(a, b task) int {", text: "\t\"location\": func(a, b task) int { return strings.Compare(*a.Location, *b.Location) },\n"},
	{file: "internal/server/list_test.go", replaces: "priority, completed, created_at, updated_at, due_date, due_time, time_zone, due_at, tags)\nselect gen_random_uuid(), $1, 'title ' || i % 7,", text: "location, priority, completed, created_at, updated_at, due_date, due_time, time_zone, due_at, tags)\nselect gen_random_uuid(), $1, 'title ' || i % 7, 'place ' || i % 4,"},
}
