-- The schema that the migrations make, read back from the database's catalog. A test holds it true.
-- Renew it with: go test ./migrations -run TestSchemaDump -update

-- role docket_app: nologin noinherit

grant usage on schema public to docket_app;

CREATE OR REPLACE FUNCTION public.count_tasks()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  case tg_op
  when 'INSERT' then
    perform task_summary_add(user_id, max(rev), completed, priority, count(*))
    from new_rows
    group by user_id, completed, priority;
  when 'UPDATE' then
    perform task_summary_add(user_id, max(rev), completed, priority, sum(tasks))
    from (
      select user_id, rev, completed, priority, 1 as tasks from new_rows
      union all
      select user_id, rev, completed, priority, -1 from old_rows
    ) as changed
    group by user_id, completed, priority;
  when 'DELETE' then
    perform task_summary_add(user_id, null, completed, priority, -count(*))
    from old_rows
    group by user_id, completed, priority;
  end case;
  return null;
end;
$function$;
revoke execute on function count_tasks() from public;

CREATE OR REPLACE FUNCTION public.isolate_by_owner(isolated regclass)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  name text := (select relname from pg_class where oid = isolated);
  -- The setting is '' and not null after a transaction that set it.
  owned text := $condition$user_id = (select nullif(current_setting('app.user_id', true), ''))$condition$;
begin
  execute format('alter table %s enable row level security', isolated);
  execute format('create policy %I on %s to docket_app using (%s) with check (%s)',
    name || '_owner', isolated, owned, owned);
end;
$function$;

CREATE OR REPLACE FUNCTION public.keep_one_row()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
declare
  there boolean;
begin
  execute format('select exists (select from %I.%I)', tg_table_schema, tg_table_name) into there;
  if there then
    return null;
  end if;
  return new;
end;
$function$;

CREATE OR REPLACE FUNCTION public.limit_tasks()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  if (
    select pending_low + pending_medium + pending_high + completed_low + completed_medium + completed_high
    from task_summary
    where user_id = current_setting('app.user_id')
  ) > current_setting('app.max_tasks')::bigint then
    raise exception 'too many tasks of one owner';
  end if;
  return null;
end;
$function$;

CREATE OR REPLACE FUNCTION public.lock_owner()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  if pg_trigger_depth() = 1 and current_setting('app.user_id', true) <> '' then
    perform pg_advisory_xact_lock(1685021547, hashtext(current_setting('app.user_id', true)) & 1023);
  end if;
  return null;
end;
$function$;

CREATE OR REPLACE FUNCTION public.lock_tasks()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  lock task in share row exclusive mode;
  return null;
end;
$function$;

CREATE OR REPLACE FUNCTION public.merge_summary()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  insert into task_summary as summary (user_id, rev, purged_rev)
  values (new.user_id, new.rev, new.purged_rev)
  on conflict (user_id) do update
  set rev = greatest(summary.rev, excluded.rev), purged_rev = greatest(summary.purged_rev, excluded.purged_rev);
  return null;
end;
$function$;

CREATE OR REPLACE FUNCTION public.next_revision(newest bigint)
 RETURNS bigint
 LANGUAGE sql
AS $function$
  select greatest((extract(epoch from clock_timestamp()) * 1000000)::bigint, newest + 1)
$function$;

CREATE OR REPLACE FUNCTION public.record_purge()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  update task_summary as summary
  set purged_rev = greatest(summary.purged_rev, purged.rev)
  from (select user_id, max(rev) as rev from old_rows group by user_id) as purged
  where summary.user_id = purged.user_id;
  return null;
end;
$function$;
revoke execute on function record_purge() from public;

CREATE OR REPLACE FUNCTION public.record_revision()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  insert into task_summary as summary (user_id, rev)
  select user_id, max(rev) from new_rows group by user_id
  on conflict (user_id) do update set rev = greatest(summary.rev, excluded.rev);
  return null;
end;
$function$;
revoke execute on function record_revision() from public;

CREATE OR REPLACE FUNCTION public.record_tombstones()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  with added as (
    insert into tombstone (user_id, resource, id, rev)
    select user_id, tg_argv[0], id, first + row_number() over (partition by user_id order by rev, id) - 1
    from old_rows
    join (
      select user_id, next_revision(summary.rev) as first
      from (select distinct user_id from old_rows) as deleted
      left join task_summary as summary using (user_id)
    ) as owners using (user_id)
    on conflict (user_id, resource, id) do update set rev = excluded.rev, deleted_at = excluded.deleted_at
    returning user_id, rev
  )
  update task_summary as summary
  set rev = greatest(summary.rev, newest.rev)
  from (select user_id, max(rev) as rev from added group by user_id) as newest
  where summary.user_id = newest.user_id;
  return null;
end;
$function$;
revoke execute on function record_tombstones() from public;

CREATE OR REPLACE FUNCTION public.record_truncation()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  perform task_summary_rebuild();
  return null;
end;
$function$;
revoke execute on function record_truncation() from public;

CREATE OR REPLACE FUNCTION public.reference_user(referring regclass, constraint_name text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  users regclass := coalesce(
    (select confrelid from pg_constraint where conrelid = 'task'::regclass and conname = 'fk_user'),
    to_regclass(coalesce(nullif(current_setting('docket.user_table', true), ''), '"user"'))
  );
begin
  execute format('alter table %s add constraint %I foreign key (user_id) references %s (id) on delete cascade',
    referring, constraint_name, users);
end;
$function$;

CREATE OR REPLACE FUNCTION public.set_revision()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  if tg_op = 'DELETE' then
    -- A cascade from "user" takes no lock. It has the user and all rows locked, so that no other change can get a
    -- revision, and waiting here for a statement that waits for the user would be a deadlock.
    if pg_trigger_depth() = 1 then
      perform pg_advisory_xact_lock(1685021547, hashtext(old.user_id) & 1023);
    end if;
    return old;
  end if;
  if tg_op = 'UPDATE' and (new.user_id <> old.user_id or new.id <> old.id) then
    perform pg_advisory_xact_lock(1685021547, hashtext(old.user_id) & 1023);
    update task_summary set rev = next_revision(rev) where user_id = old.user_id;
    insert into tombstone (user_id, resource, id, rev)
    select user_id, tg_argv[0], old.id, rev from task_summary where user_id = old.user_id
    on conflict (user_id, resource, id) do update set rev = excluded.rev, deleted_at = excluded.deleted_at;
  end if;
  perform pg_advisory_xact_lock(1685021547, hashtext(new.user_id) & 1023);
  -- Being a statement after the lock, it sees what the last holder of the lock committed.
  new.rev := next_revision((select rev from task_summary where user_id = new.user_id));
  return new;
end;
$function$;
revoke execute on function set_revision() from public;

CREATE OR REPLACE FUNCTION public.task_summary_add(owner character varying, newest bigint, done boolean, rank character varying, tasks bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  loop
    update task_summary
    set rev = greatest(rev, newest),
      pending_low = pending_low + case when not done and rank = 'low' then tasks else 0 end,
      pending_medium = pending_medium + case when not done and rank = 'medium' then tasks else 0 end,
      pending_high = pending_high + case when not done and rank = 'high' then tasks else 0 end,
      completed_low = completed_low + case when done and rank = 'low' then tasks else 0 end,
      completed_medium = completed_medium + case when done and rank = 'medium' then tasks else 0 end,
      completed_high = completed_high + case when done and rank = 'high' then tasks else 0 end
    where user_id = owner;
    exit when found;
    insert into task_summary (user_id, rev) values (owner, 0) on conflict do nothing;
  end loop;
end;
$function$;

CREATE OR REPLACE FUNCTION public.task_summary_rebuild()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  lock task in share row exclusive mode;
  insert into task_summary as summary (user_id, rev)
  select user_id, max(rev)
  from (select user_id, rev from task union all select user_id, rev from tombstone) as known
  group by user_id
  on conflict (user_id) do update set rev = greatest(summary.rev, excluded.rev);
  update task_summary
  set rev = next_revision(rev), purged_rev = rev + 1,
    pending_low = 0, pending_medium = 0, pending_high = 0, completed_low = 0, completed_medium = 0, completed_high = 0;
  perform task_summary_add(user_id, max(rev), completed, priority, count(*))
  from task
  group by user_id, completed, priority;
end;
$function$;

CREATE OR REPLACE FUNCTION public.update_updated_at_column()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  new.updated_at := greatest(clock_timestamp(), old.updated_at + interval '1 microsecond');
  return new;
end;
$function$;

create table docket_epoch (
  epoch uuid default gen_random_uuid() not null
);
CREATE UNIQUE INDEX docket_epoch_one_row ON docket_epoch USING btree ((true));
CREATE TRIGGER docket_epoch_one_row BEFORE INSERT ON docket_epoch FOR EACH ROW EXECUTE FUNCTION keep_one_row();

create table docket_schema_version (
  version integer not null
);
CREATE TRIGGER docket_schema_version_one_row BEFORE INSERT ON docket_schema_version FOR EACH ROW EXECUTE FUNCTION keep_one_row();

create table idempotency_key (
  user_id character varying(255) not null,
  key character varying(255) not null,
  request_hash bytea not null,
  resource character varying(32) not null,
  response jsonb not null,
  created_at timestamp with time zone default now() not null,
  constraint idempotency_key_pkey PRIMARY KEY (user_id, key),
  constraint fk_idempotency_key_user FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE
);
CREATE INDEX idx_idempotency_key_created_at ON idempotency_key USING btree (user_id, created_at);
alter table idempotency_key enable row level security;
create policy idempotency_key_owner on idempotency_key as permissive for all to docket_app
  using (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")))
  with check (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")));

create table task (
  id character varying(255) not null,
  user_id character varying(255) not null,
  title character varying(200) not null,
  description text,
  priority character varying(10) default 'medium'::character varying not null,
  completed boolean default false not null,
  created_at timestamp with time zone default now() not null,
  updated_at timestamp with time zone default now() not null,
  rev bigint not null,
  search_text text collate "und-x-icu" generated always as ((replace(replace(translate(lower(upper(
CASE
    WHEN octet_length(title::text) = char_length(title::text) THEN title::text
    ELSE NORMALIZE(title::text, NFKC)
END COLLATE "und-x-icu")), 'ς'::text, 'σ'::text), 'ß'::text, 'ss'::text), 'i'::text || chr(775), 'i'::text) || 'A'::text) || replace(replace(translate(lower(upper(
CASE
    WHEN octet_length(COALESCE(description, ''::text)) = char_length(COALESCE(description, ''::text)) THEN COALESCE(description, ''::text)
    ELSE NORMALIZE(COALESCE(description, ''::text), NFKC)
END COLLATE "und-x-icu")), 'ς'::text, 'σ'::text), 'ß'::text, 'ss'::text), 'i'::text || chr(775), 'i'::text)) stored,
  constraint task_pkey PRIMARY KEY (id),
  constraint fk_user FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
  constraint chk_description_length CHECK (char_length(description) <= 1000),
  constraint chk_priority CHECK (priority::text = ANY (ARRAY['low'::character varying, 'medium'::character varying, 'high'::character varying]::text[])),
  constraint chk_title_length CHECK (char_length(title::text) >= 1 AND char_length(title::text) <= 200)
);
CREATE INDEX idx_task_completed ON task USING btree (user_id, completed, created_at DESC, id DESC);
CREATE INDEX idx_task_created_at ON task USING btree (user_id, created_at DESC, id DESC);
CREATE INDEX idx_task_priority ON task USING btree (user_id, (
CASE priority
    WHEN 'high'::text THEN 3
    WHEN 'medium'::text THEN 2
    ELSE 1
END) DESC, id DESC);
CREATE INDEX idx_task_rev ON task USING btree (user_id, rev);
CREATE INDEX idx_task_title ON task USING btree (user_id, title, id);
CREATE INDEX idx_task_updated_at ON task USING btree (user_id, updated_at DESC, id DESC);
CREATE UNIQUE INDEX idx_task_user_id ON task USING btree (user_id, id);
CREATE INDEX idx_task_user_pending_priority ON task USING btree (user_id, (
CASE priority
    WHEN 'high'::text THEN 3
    WHEN 'medium'::text THEN 2
    ELSE 1
END) DESC, id DESC) WHERE completed = false;
CREATE TRIGGER task_lock_owner BEFORE INSERT OR DELETE OR UPDATE ON task FOR EACH STATEMENT EXECUTE FUNCTION lock_owner();
CREATE TRIGGER task_revision BEFORE INSERT OR DELETE OR UPDATE ON task FOR EACH ROW EXECUTE FUNCTION set_revision('task');
CREATE TRIGGER task_tombstones AFTER DELETE ON task REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION record_tombstones('task');
CREATE TRIGGER task_totals_delete AFTER DELETE ON task REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION count_tasks();
CREATE TRIGGER task_totals_insert AFTER INSERT ON task REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION count_tasks();
CREATE TRIGGER task_totals_limit AFTER INSERT ON task FOR EACH STATEMENT WHEN (current_setting('app.max_tasks'::text, true) <> ''::text) EXECUTE FUNCTION limit_tasks();
CREATE TRIGGER task_totals_update AFTER UPDATE ON task REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION count_tasks();
CREATE TRIGGER task_truncated AFTER TRUNCATE ON task FOR EACH STATEMENT EXECUTE FUNCTION record_truncation();
CREATE TRIGGER task_updated_at BEFORE UPDATE ON task FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
alter table task enable row level security;
create policy task_owner on task as permissive for all to docket_app
  using (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")))
  with check (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")));

create table task_summary (
  user_id character varying(255) not null,
  rev bigint not null,
  purged_rev bigint default 0 not null,
  pending_low integer default 0 not null,
  pending_medium integer default 0 not null,
  pending_high integer default 0 not null,
  completed_low integer default 0 not null,
  completed_medium integer default 0 not null,
  completed_high integer default 0 not null,
  constraint task_summary_pkey PRIMARY KEY (user_id)
) with (fillfactor=50);
CREATE TRIGGER task_summary_lock_tasks BEFORE INSERT ON task_summary FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION lock_tasks();
CREATE TRIGGER task_summary_restored BEFORE INSERT ON task_summary FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION merge_summary();
alter table task_summary enable row level security;
create policy task_summary_owner on task_summary as permissive for all to docket_app
  using (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")))
  with check (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")));

create table tombstone (
  user_id character varying(255) not null,
  resource character varying(32) not null,
  id character varying(255) not null,
  rev bigint not null,
  deleted_at timestamp with time zone default now() not null,
  constraint tombstone_pkey PRIMARY KEY (user_id, resource, id)
);
CREATE INDEX idx_tombstone_deleted_at ON tombstone USING btree (user_id, deleted_at);
CREATE INDEX idx_tombstone_rev ON tombstone USING btree (user_id, rev);
CREATE TRIGGER tombstone_lock_owner BEFORE DELETE ON tombstone FOR EACH STATEMENT EXECUTE FUNCTION lock_owner();
CREATE TRIGGER tombstone_lock_tasks BEFORE INSERT ON tombstone FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION lock_tasks();
CREATE TRIGGER tombstone_purged AFTER DELETE ON tombstone REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION record_purge();
CREATE TRIGGER tombstone_restored AFTER INSERT ON tombstone REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION record_revision();
CREATE TRIGGER tombstone_truncated AFTER TRUNCATE ON tombstone FOR EACH STATEMENT EXECUTE FUNCTION record_truncation();
alter table tombstone enable row level security;
create policy tombstone_owner on tombstone as permissive for all to docket_app
  using (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")))
  with check (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")));

grant select on docket_epoch to docket_app;
grant select on docket_schema_version to docket_app;
grant delete, insert, select on idempotency_key to docket_app;
grant delete, insert, select, update on task to docket_app;
grant select on task_summary to docket_app;
grant delete, select on tombstone to docket_app;
