package migrations_test

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/devdb"
)

var update = flag.Bool("update", false, "write docs/schema.sql anew")

const (
	schemaFile   = "../docs/schema.sql"
	schemaHeader = "-- The schema that the migrations make, read back from the database's catalog. A test holds it true.\n" +
		"-- Renew it with: go test ./migrations -run TestSchemaDump -update\n"
)

func TestSchemaDump(t *testing.T) {
	t.Parallel()
	got := schemaHeader + dump(t, connect(t, dbtest.New(t)))
	if *update {
		if err := os.WriteFile(schemaFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("docs/schema.sql is not what the migrations make (its second line says how to renew it):\n%s",
			difference(string(want), got))
	}
}

func TestSchemaDumpIsSQL(t *testing.T) {
	t.Parallel()
	want := dump(t, connect(t, dbtest.New(t)))
	copied := connect(t, dbtest.Empty(t))
	exec(t, copied, devdb.UserFixtureSQL)
	exec(t, copied, want)
	// PostgreSQL moves the casts of a check constraint when it parses its own text.
	casts := regexp.MustCompile(`::(character varying|text)(\[\])?`)
	want = casts.ReplaceAllString(want, "")
	if got := casts.ReplaceAllString(dump(t, copied), ""); got != want {
		t.Errorf("a database made from the dump differs:\n%s", difference(want, got))
	}
}

func TestSchemaDumpSeesEveryKindOfObject(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	conn := connect(t, address)
	role, _ := dbtest.Login(t, address, "seen", "")
	before := dump(t, conn)
	for _, sql := range []string{
		"create table another (n bigint generated always as identity, m text collate \"C\" unique)",
		"create table another (n int default 7 not null check (n > 0))",
		"create unlogged table another ()",
		"alter table task alter priority type varchar(300)",
		"alter table task alter title drop not null",
		"alter table task alter priority set default 'low'",
		"alter table task drop constraint fk_user",
		"alter table task drop constraint fk_user, add constraint fk_user foreign key (user_id) references \"user\" (id)",
		"alter table task drop constraint chk_priority",
		"alter table task set (fillfactor = 70)",
		"alter table task enable row level security, force row level security",
		"alter table task disable trigger task_updated_at",
		"drop index idx_task_completed",
		"drop index idx_task_completed; create index idx_task_completed on task (user_id)",
		"create or replace function update_updated_at_column() returns trigger language plpgsql as 'begin return new; end'",
		"alter function update_updated_at_column() security definer",
		"revoke execute on function update_updated_at_column() from public",
		"create function f(int) returns int language sql as 'select 1'",
		"create trigger another before update on task for each row execute function update_updated_at_column()",
		"create policy another on task for select to public using (completed)",
		"create policy another on task as restrictive for insert to " + role + " with check (not completed)",
		"grant select on task to " + role,
		"grant select on task to public",
		"grant update (title) on task to " + role,
		"grant select on task to " + role + " with grant option",
		"grant create on schema public to " + role,
		"create sequence another",
		"create sequence another as int increment 2 cycle",
		"create sequence another; grant usage on sequence another to " + role,
		"create view another as select id from task",
		"create materialized view another as select id from task",
		"create type another as enum ('a', 'b')",
		"create domain another as text check (value <> '')",
		"create extension pg_trgm",
		"comment on column task.title is 'another'",
		"create schema another",
	} {
		t.Run(sql, func(t *testing.T) {
			tx, err := conn.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := tx.Rollback(t.Context()); err != nil {
					t.Fatal(err)
				}
			}()
			// Row-level security is enabled already. The other statements of the list do not depend on it.
			exec(t, conn, strings.Replace(sql, "enable row level security, force", "force", 1))
			if dump(t, conn) == before {
				t.Error("the dump does not see it")
			}
		})
	}
}

// dumpSQL are the parts of a dump, in order. Each returns rows of SQL text. "user" is Better Auth's and is left out.
var dumpSQL = []string{
	// Objects that no part below describes: a dump must mention them.
	`select format('-- and another object: %s %I', what, name) from (
		select 'schema' as what, nspname as name from pg_namespace where nspname !~ '^pg_' and nspname not in ('information_schema', 'public')
		union all
		select 'relation of kind ' || relkind::text, relname from pg_class where relnamespace = 'public'::regnamespace and relkind not in ('r', 'i', 'S', 't')
		union all
		select 'type of kind ' || typtype::text, typname from pg_type where typnamespace = 'public'::regnamespace and typtype not in ('b', 'c')
		union all
		select 'extension', extname from pg_extension where extname <> 'plpgsql'
		union all
		select 'comment on', pg_describe_object(classoid, objoid, objsubid) from pg_description join pg_class c on classoid = 'pg_class'::regclass and objoid = c.oid
		where relnamespace = 'public'::regnamespace
	) unknown order by what, name collate "C"`,

	// Roles belong to the cluster and not to the schema: a comment.
	`select format('-- role %I: %s', rolname, concat_ws(' ',
		case when rolcanlogin then 'login' else 'nologin' end,
		case when rolinherit then 'inherit' else 'noinherit' end,
		case when rolsuper then 'superuser' end,
		case when rolcreatedb then 'createdb' end,
		case when rolcreaterole then 'createrole' end,
		case when rolreplication then 'replication' end,
		case when rolbypassrls then 'bypassrls' end,
		array_to_string(rolconfig, ' ')))
	from pg_roles
	where oid in (
		select grantee from pg_namespace, aclexplode(nspacl) where nspname = 'public' and grantee <> nspowner
		union select grantee from pg_class, aclexplode(relacl) where relnamespace = 'public'::regnamespace and grantee <> relowner
		union select grantee from pg_class c, pg_attribute a, aclexplode(attacl)
			where attrelid = c.oid and relnamespace = 'public'::regnamespace and grantee <> relowner
		union select grantee from pg_proc, aclexplode(proacl) where pronamespace = 'public'::regnamespace and grantee <> proowner
		union select unnest(polroles) from pg_policy)
	order by rolname collate "C"`,

	`select format('grant %s on schema public to %s;', lower(privilege_type), coalesce(quote_ident(rolname), 'public'))
	from pg_namespace, aclexplode(nspacl) left join pg_roles r on r.oid = grantee
	where nspname = 'public' and grantee <> nspowner and (grantee <> 0 or privilege_type <> 'USAGE')
	order by rolname collate "C", privilege_type`,

	`select format(e'create sequence %I as %s\n  increment by %s minvalue %s maxvalue %s start with %s cache %s%s;',
		relname, seqtypid::regtype, seqincrement, seqmin, seqmax, seqstart, seqcache, case when seqcycle then ' cycle' else '' end)
	from pg_sequence join pg_class c on seqrelid = c.oid
	where relnamespace = 'public'::regnamespace
		and not exists (select from pg_depend where classid = 'pg_class'::regclass and objid = seqrelid and deptype = 'i') -- an identity column's
	order by relname collate "C"`,

	`select rtrim(pg_get_functiondef(p.oid), e'\n') || ';' ||
		case when proacl is not null and not exists (select from aclexplode(proacl) where grantee = 0)
			then format(e'\nrevoke execute on function %s from public;', p.oid::regprocedure) else '' end ||
		coalesce((select string_agg(format(e'\ngrant execute on function %s to %I;', p.oid::regprocedure, rolname), '' order by rolname collate "C")
			from aclexplode(proacl) join pg_roles r on r.oid = grantee where grantee <> proowner), '')
	from pg_proc p
	where pronamespace = 'public'::regnamespace and prokind in ('f', 'p')
		and not exists (select from pg_depend where classid = 'pg_proc'::regclass and objid = p.oid and deptype = 'e')
	order by proname collate "C"`,

	// Tables, each with its constraints, indexes, triggers and policies.
	`select format(e'create %stable %I (\n%s\n)%s;', case relpersistence when 'u' then 'unlogged ' else '' end, relname,
		concat_ws(e',\n',
			(select string_agg(format('  %I %s', attname, concat_ws(' ',
					format_type(atttypid, atttypmod),
					case when attcollation <> typcollation then format('collate %s', attcollation::regcollation) end,
					case attidentity when 'a' then 'generated always as identity' when 'd' then 'generated by default as identity' end,
					case attgenerated when 's' then format('generated always as (%s) stored', pg_get_expr(adbin, adrelid, true))
						when '' then 'default ' || pg_get_expr(adbin, adrelid, true) end,
					case when attnotnull then 'not null' end)), e',\n' order by attnum)
				from pg_attribute a join pg_type y on atttypid = y.oid left join pg_attrdef on adrelid = attrelid and adnum = attnum
				where attrelid = c.oid and attnum > 0 and not attisdropped),
			(select string_agg(format('  constraint %I %s', conname, pg_get_constraintdef(oid, true)), e',\n'
					order by position(contype::text in 'pufcx'), conname collate "C")
				from pg_constraint
				where conrelid = c.oid and contype in ('p', 'u', 'f', 'c', 'x'))), -- 18 lists what is not null, too
		coalesce(' with (' || array_to_string(reloptions, ', ') || ')', '')) ||
	coalesce((select string_agg(e'\n' || pg_get_indexdef(indexrelid, 0, true) || ';' || case when indisvalid then '' else ' -- invalid' end, '' order by i.relname collate "C")
		from pg_index join pg_class i on i.oid = indexrelid
		where indrelid = c.oid and not exists (select from pg_constraint where conindid = indexrelid and conrelid = indrelid)), '') ||
	coalesce((select string_agg(e'\n' || pg_get_triggerdef(oid, true) || ';' ||
			case tgenabled when 'O' then '' when 'D' then format(e'\nalter table %I disable trigger %I;', relname, tgname) else ' -- enabled ' || tgenabled::text end,
			'' order by tgname collate "C")
		from pg_trigger where tgrelid = c.oid and not tgisinternal), '') ||
	case when relrowsecurity then format(e'\nalter table %I enable row level security;', relname) else '' end ||
	case when relforcerowsecurity then format(e'\nalter table %I force row level security;', relname) else '' end ||
	coalesce((select string_agg(format(e'\ncreate policy %I on %I as %s for %s to %s', polname, relname,
			case when polpermissive then 'permissive' else 'restrictive' end,
			case polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
			(select string_agg(coalesce(quote_ident(rolname), 'public'), ', ' order by rolname collate "C") from unnest(polroles) p left join pg_roles r on r.oid = p)) ||
			coalesce(e'\n  using (' || pg_get_expr(polqual, polrelid, true) || ')', '') ||
			coalesce(e'\n  with check (' || pg_get_expr(polwithcheck, polrelid, true) || ')', '') || ';',
			'' order by polname collate "C")
		from pg_policy where polrelid = c.oid), '')
	from pg_class c
	where relnamespace = 'public'::regnamespace and relkind = 'r' and relname <> 'user'
	order by relname collate "C"`,

	`select format('grant %s on %s%I to %s%s;', string_agg(lower(privilege_type), ', ' order by privilege_type),
		case relkind when 'S' then 'sequence ' else '' end, relname, coalesce(quote_ident(rolname), 'public'),
		case when is_grantable then ' with grant option' else '' end)
	from pg_class, aclexplode(relacl) left join pg_roles r on r.oid = grantee
	where relnamespace = 'public'::regnamespace and relname <> 'user' and grantee <> relowner
	group by relkind, relname, rolname, is_grantable
	order by relname collate "C", rolname collate "C", is_grantable`,

	`select format('grant %s (%I) on %I to %s%s;', lower(privilege_type), attname, relname, coalesce(quote_ident(rolname), 'public'),
		case when is_grantable then ' with grant option' else '' end)
	from pg_class c join pg_attribute on attrelid = c.oid, aclexplode(attacl) left join pg_roles r on r.oid = grantee
	where relnamespace = 'public'::regnamespace and relname <> 'user' and grantee <> relowner
	order by relname collate "C", attname collate "C", rolname collate "C", privilege_type`,
}

// dump reads a database's schema from its catalog as SQL text, in the order of names. The text is the same for every
// major version of PostgreSQL, unlike the output of pg_dump.
func dump(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	var parts []string
	for _, sql := range dumpSQL {
		rows, err := conn.Query(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		part, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatalf("%v in %s", err, sql)
		}
		if len(part) > 0 && strings.Contains(part[0], "\n") {
			parts = append(parts, part...) // each has several lines and is a paragraph of its own
		} else if len(part) > 0 {
			parts = append(parts, strings.Join(part, "\n"))
		}
	}
	return "\n" + strings.Join(parts, "\n\n") + "\n"
}

// difference returns the lines from the first difference of two texts to the last one.
func difference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	prefix := func(sign string, lines []string) []string {
		lines = slices.Clone(lines)
		for i := range lines {
			lines[i] = sign + lines[i]
		}
		return lines
	}
	return strings.Join(append(prefix("- ", a), prefix("+ ", b)...), "\n")
}
