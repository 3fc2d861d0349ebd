-- What a list says of all of an owner's tasks together: the newest revision, and how many there are of each state and
-- priority. One row an owner, changed by the statement that changes tasks, so that a list need not count.
--
-- No foreign key, as for tombstones: an owner's revision never goes back.

create table task_summary (
  user_id          varchar(255) primary key,
  rev              bigint  not null,
  pending_low      integer not null,
  pending_medium   integer not null,
  pending_high     integer not null,
  completed_low    integer not null,
  completed_medium integer not null,
  completed_high   integer not null
) with (fillfactor = 50); -- the next version of a row finds room beside it

-- For a database whose tasks came in without their triggers. Everybody's revision goes on: what was answered before may
-- have been wrong, and must not be taken for what is answered now.
create function task_summary_rebuild() returns void
language plpgsql as $$
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
$$;

create function task_summary_add(owner varchar, newest bigint, done boolean, rank varchar, tasks bigint) returns void
language plpgsql as $$
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
$$;

-- As the tables' owner: docket_app may read a summary and no more, and when a user is deleted this runs as whoever
-- deletes it, who has no rights here. After all rows of the statement are locked: who waits here holds nothing that the
-- deletion of the user could wait for.
create function task_changed() returns trigger
language plpgsql security definer as $$
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
$$;

-- Whoever may execute it could make it the trigger of a temporary table, and so write any owner's summary.
revoke execute on function task_changed() from public;

drop trigger task_tombstones on task;
drop function task_tombstones();

create trigger task_inserted
  after insert on task
  referencing new table as made
  for each statement execute function task_changed();

create trigger task_updated
  after update on task
  referencing old table as gone new table as made
  for each statement execute function task_changed();

create trigger task_deleted
  after delete on task
  referencing old table as gone
  for each statement execute function task_changed();

create trigger task_truncated
  after truncate on task
  for each statement execute function task_changed();

-- The caller holds the owner's lock, and took it in a statement before: what this one sees must be later. It also set
-- the search_path. Tasks that one statement changes may get the same number: nobody sees one without the other.
create or replace function next_revision(owner varchar) returns bigint
language plpgsql as $$
begin
  return greatest(
    (extract(epoch from clock_timestamp()) * 1000000)::bigint,
    (select rev from task_summary where user_id = owner) + 1
  );
end;
$$;

-- A task that gets another id or owner is gone from where it was.
create or replace function task_revision() returns trigger
language plpgsql as $$
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
$$;

-- These find our tables whatever search_path the session has.
do $$
begin
  execute format('alter function task_revision() set search_path = %I, pg_temp', current_schema());
  execute format('alter function task_changed() set search_path = %I, pg_temp', current_schema());
  execute format('alter function task_summary_rebuild() set search_path = %I, pg_temp', current_schema());
end;
$$;

-- The triggers are there, and hold off who writes until this is committed.
select task_summary_rebuild();

grant select on task_summary to docket_app;

alter table task_summary enable row level security;

create policy task_summary_owner on task_summary to docket_app
  using (user_id = (select nullif(current_setting('app.user_id', true), '')))
  with check (user_id = (select nullif(current_setting('app.user_id', true), '')));

---- create above / drop below ----

drop trigger task_inserted on task;
drop trigger task_updated on task;
drop trigger task_deleted on task;
drop trigger task_truncated on task;
drop function task_changed();
drop function task_summary_add(varchar, bigint, boolean, varchar, bigint);
drop function task_summary_rebuild();

create or replace function next_revision(owner varchar) returns bigint
language plpgsql set enable_sort = off as $$
begin
  return greatest(
    (extract(epoch from clock_timestamp()) * 1000000)::bigint,
    (select rev from task where user_id = owner order by rev desc limit 1) + 1,
    (select rev from task_tombstone where user_id = owner order by rev desc limit 1) + 1
  );
end;
$$;

create or replace function task_revision() returns trigger
language plpgsql as $$
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
    insert into task_tombstone (user_id, id, rev)
    values (old.user_id, old.id, next_revision(old.user_id))
    on conflict (user_id, id) do update set rev = excluded.rev, deleted_at = excluded.deleted_at;
  end if;
  perform pg_advisory_xact_lock(1685021547, hashtext(new.user_id));
  new.rev := next_revision(new.user_id);
  return new;
end;
$$;

create function task_tombstones() returns trigger
language plpgsql security definer as $$
begin
  insert into task_tombstone (user_id, id, rev)
  select user_id, id, first + row_number() over (partition by user_id order by rev, id) - 1
  from gone
  join (
    select user_id, greatest(next_revision(user_id), max(rev) + 1) as first
    from gone
    group by user_id
  ) as owners using (user_id)
  on conflict (user_id, id) do update set rev = excluded.rev, deleted_at = excluded.deleted_at;
  return null;
end;
$$;

revoke execute on function task_tombstones() from public;

create trigger task_tombstones
  after delete on task
  referencing old table as gone
  for each statement execute function task_tombstones();

do $$
begin
  execute format('alter function task_revision() set search_path = %I, pg_temp', current_schema());
  execute format('alter function task_tombstones() set search_path = %I, pg_temp', current_schema());
end;
$$;

drop table task_summary;
