-- The schema that the migrations make, read back from the database's catalog. A test holds it true.
-- Renew it with: go test ./migrations -run TestSchemaDump -update

-- role docket_app: nologin noinherit

grant usage on schema public to docket_app;

CREATE OR REPLACE FUNCTION public.next_revision(owner character varying)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
begin
  return greatest(
    (extract(epoch from clock_timestamp()) * 1000000)::bigint,
    (select rev from task_summary where user_id = owner) + 1
  );
end;
$function$;

CREATE OR REPLACE FUNCTION public.task_changed()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  case tg_op
  when 'INSERT' then
    perform task_summary_add(user_id, max(rev), completed, priority, count(*))
    from made
    group by user_id, completed, priority;
  when 'UPDATE' then
    perform task_summary_add(user_id, max(rev), completed, priority, sum(tasks))
    from (
      select user_id, rev, completed, priority, 1 as tasks from made
      union all
      select user_id, rev, completed, priority, -1 from gone
    ) as changed
    group by user_id, completed, priority;
  when 'DELETE' then
    -- In the order of the tasks' own last changes. A statement may have deleted those of several owners.
    insert into task_tombstone (user_id, id, rev)
    select user_id, id, first + row_number() over (partition by user_id order by rev, id) - 1
    from gone
    join (
      select user_id, next_revision(user_id) as first
      from gone
      group by user_id
    ) as owners using (user_id)
    on conflict (user_id, id) do update set rev = excluded.rev, deleted_at = excluded.deleted_at;
    perform task_summary_add(user_id, max(tombstone.rev), completed, priority, -count(*))
    from gone
    join task_tombstone as tombstone using (user_id, id)
    group by user_id, completed, priority;
  when 'TRUNCATE' then
    update task_summary
    set rev = next_revision(user_id),
      pending_low = 0, pending_medium = 0, pending_high = 0, completed_low = 0, completed_medium = 0, completed_high = 0;
  end case;
  return null;
end;
$function$;
revoke execute on function task_changed() from public;

CREATE OR REPLACE FUNCTION public.task_owner_lock()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  if pg_trigger_depth() = 1 and current_setting('app.user_id', true) <> '' then
    perform pg_advisory_xact_lock(1685021547, hashtext(current_setting('app.user_id', true)));
  end if;
  return null;
end;
$function$;

CREATE OR REPLACE FUNCTION public.task_revision()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  if tg_op = 'DELETE' then
    -- Not for a cascade from "user": that holds the user and every task, so that nobody can get a revision in between,
    -- and waiting here for who waits for the user would be a deadlock.
    if pg_trigger_depth() = 1 then
      perform pg_advisory_xact_lock(1685021547, hashtext(old.user_id));  -- 1685021547 is 'dock' in ASCII
    end if;
    return old;
  end if;
  if tg_op = 'UPDATE' and (new.user_id <> old.user_id or new.id <> old.id) then
    perform pg_advisory_xact_lock(1685021547, hashtext(old.user_id));
    update task_summary set rev = next_revision(user_id) where user_id = old.user_id;
    insert into task_tombstone (user_id, id, rev)
    select user_id, old.id, rev from task_summary where user_id = old.user_id
    on conflict (user_id, id) do update set rev = excluded.rev, deleted_at = excluded.deleted_at;
  end if;
  perform pg_advisory_xact_lock(1685021547, hashtext(new.user_id));
  new.rev := next_revision(new.user_id);
  return new;
end;
$function$;

CREATE OR REPLACE FUNCTION public.task_summary_add(owner character varying, newest bigint, done boolean, rank character varying, tasks bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  insert into task_summary as summary
  values (
    owner, newest,
    case when not done and rank = 'low' then tasks else 0 end,
    case when not done and rank = 'medium' then tasks else 0 end,
    case when not done and rank = 'high' then tasks else 0 end,
    case when done and rank = 'low' then tasks else 0 end,
    case when done and rank = 'medium' then tasks else 0 end,
    case when done and rank = 'high' then tasks else 0 end
  )
  on conflict (user_id) do update
  set rev = greatest(summary.rev, excluded.rev),
    pending_low = summary.pending_low + excluded.pending_low,
    pending_medium = summary.pending_medium + excluded.pending_medium,
    pending_high = summary.pending_high + excluded.pending_high,
    completed_low = summary.completed_low + excluded.completed_low,
    completed_medium = summary.completed_medium + excluded.completed_medium,
    completed_high = summary.completed_high + excluded.completed_high;
end;
$function$;

CREATE OR REPLACE FUNCTION public.task_summary_rebuild()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  lock task in share row exclusive mode;
  update task_summary
  set rev = next_revision(user_id),
    pending_low = 0, pending_medium = 0, pending_high = 0, completed_low = 0, completed_medium = 0, completed_high = 0;
  insert into task_summary as summary
  select user_id, max(rev),
    count(*) filter (where not completed and priority = 'low'),
    count(*) filter (where not completed and priority = 'medium'),
    count(*) filter (where not completed and priority = 'high'),
    count(*) filter (where completed and priority = 'low'),
    count(*) filter (where completed and priority = 'medium'),
    count(*) filter (where completed and priority = 'high')
  from (
    select user_id, rev, completed, priority from task
    union all
    select user_id, rev, null, null from task_tombstone
  ) as known
  group by user_id
  on conflict (user_id) do update
  set rev = greatest(summary.rev, excluded.rev),
    pending_low = excluded.pending_low, pending_medium = excluded.pending_medium, pending_high = excluded.pending_high,
    completed_low = excluded.completed_low, completed_medium = excluded.completed_medium, completed_high = excluded.completed_high;
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

create table docket_schema_version (
  version integer not null
);

create table idempotency_key (
  user_id character varying(255) not null,
  key character varying(255) not null,
  request_hash bytea not null,
  kept_at timestamp with time zone default now() not null,
  task_id character varying(255) not null,
  title character varying(200) not null,
  description text,
  priority character varying(10) not null,
  completed boolean not null,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  rev bigint not null,
  constraint idempotency_key_pkey PRIMARY KEY (user_id, key),
  constraint fk_idempotency_key_user FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE
);
CREATE INDEX idx_idempotency_key_kept_at ON idempotency_key USING btree (user_id, kept_at);
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
  constraint task_pkey PRIMARY KEY (id),
  constraint fk_user FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
  constraint chk_description_length CHECK (char_length(description) <= 1000),
  constraint chk_priority CHECK (priority::text = ANY (ARRAY['low'::character varying, 'medium'::character varying, 'high'::character varying]::text[])),
  constraint chk_title_length CHECK (char_length(title::text) >= 1 AND char_length(title::text) <= 200)
);
CREATE INDEX idx_task_completed ON task USING btree (user_id, completed, created_at DESC, id DESC);
CREATE INDEX idx_task_created_at ON task USING btree (user_id, created_at DESC, id DESC);
CREATE UNIQUE INDEX idx_task_owner_id ON task USING btree (user_id, id);
CREATE INDEX idx_task_priority ON task USING btree (user_id, (
CASE priority
    WHEN 'high'::text THEN 3
    WHEN 'medium'::text THEN 2
    ELSE 1
END) DESC, id DESC);
CREATE INDEX idx_task_title ON task USING btree (user_id, title, id);
CREATE INDEX idx_task_updated_at ON task USING btree (user_id, updated_at DESC, id DESC);
CREATE INDEX idx_task_user_pending_priority ON task USING btree (user_id, (
CASE priority
    WHEN 'high'::text THEN 3
    WHEN 'medium'::text THEN 2
    ELSE 1
END) DESC, id DESC) WHERE completed = false;
CREATE TRIGGER task_deleted AFTER DELETE ON task REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION task_changed();
CREATE TRIGGER task_inserted AFTER INSERT ON task REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION task_changed();
CREATE TRIGGER task_owner_lock BEFORE INSERT OR DELETE OR UPDATE ON task FOR EACH STATEMENT EXECUTE FUNCTION task_owner_lock();
CREATE TRIGGER task_revision BEFORE INSERT OR DELETE OR UPDATE ON task FOR EACH ROW EXECUTE FUNCTION task_revision();
CREATE TRIGGER task_truncated AFTER TRUNCATE ON task FOR EACH STATEMENT EXECUTE FUNCTION task_changed();
CREATE TRIGGER task_updated AFTER UPDATE ON task REFERENCING OLD TABLE AS gone NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION task_changed();
CREATE TRIGGER task_updated_at BEFORE UPDATE ON task FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
alter table task enable row level security;
create policy task_owner on task as permissive for all to docket_app
  using (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")))
  with check (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")));

create table task_summary (
  user_id character varying(255) not null,
  rev bigint not null,
  pending_low integer not null,
  pending_medium integer not null,
  pending_high integer not null,
  completed_low integer not null,
  completed_medium integer not null,
  completed_high integer not null,
  constraint task_summary_pkey PRIMARY KEY (user_id)
) with (fillfactor=50);
alter table task_summary enable row level security;
create policy task_summary_owner on task_summary as permissive for all to docket_app
  using (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")))
  with check (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")));

create table task_tombstone (
  user_id character varying(255) not null,
  id character varying(255) not null,
  rev bigint not null,
  deleted_at timestamp with time zone default now() not null,
  constraint task_tombstone_pkey PRIMARY KEY (user_id, id)
);
CREATE INDEX idx_task_tombstone_deleted_at ON task_tombstone USING btree (user_id, deleted_at);
CREATE INDEX idx_task_tombstone_rev ON task_tombstone USING btree (user_id, rev);
alter table task_tombstone enable row level security;
create policy task_tombstone_owner on task_tombstone as permissive for all to docket_app
  using (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")))
  with check (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")));

grant select on docket_schema_version to docket_app;
grant delete, insert, select on idempotency_key to docket_app;
grant delete, insert, select, update on task to docket_app;
grant select on task_summary to docket_app;
grant delete, insert, select, update on task_tombstone to docket_app;
