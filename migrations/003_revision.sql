-- Revisions, tombstones and totals: what entity tags, lists and the change feed rely on.
--
-- A revision is the time of a change in microseconds since 1970, or the owner's newest revision plus one if that is
-- more (ADR 18). A change gets its revision under a lock of its owner, which it holds until it commits, so that the
-- revisions of one owner become visible in ascending order.
--
-- The trigger functions serve any resource: a table with the columns user_id, id and rev. Where a function needs the
-- name of the resource, the trigger passes it. Those that write summaries fire after a statement has locked all of its
-- rows: a transaction that waits for a summary holds nothing that the deletion of the user could wait for.

-- The functions below that say so keep this search path: they find Docket's tables whatever the session's is.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- One row for each owner: the newest revision, and the number of tasks by state and priority, so that a list need not
-- count them (ADR 19). It has no foreign key and stays when the user is deleted: a revision never goes back.
create table task_summary (
  user_id          varchar(255) primary key,
  rev              bigint  not null,
  purged_rev       bigint  not null default 0, -- tombstones up to it were purged
  pending_low      integer not null default 0,
  pending_medium   integer not null default 0,
  pending_high     integer not null default 0,
  completed_low    integer not null default 0,
  completed_medium integer not null default 0,
  completed_high   integer not null default 0
) with (fillfactor = 50); -- leaves space in each page for new versions of its rows

-- What was deleted, and when. It has no foreign key: deleting a user deletes tasks, and each leaves a row here.
create table tombstone (
  user_id    varchar(255) not null,
  resource   varchar(32)  not null,
  id         varchar(255) not null,
  rev        bigint       not null,
  deleted_at timestamptz  not null default now(),
  primary key (user_id, resource, id)
);

create index idx_tombstone_rev on tombstone (user_id, rev);
create index idx_tombstone_deleted_at on tombstone (user_id, deleted_at);

-- One row. The epoch is renewed after a restore, which makes positions in the change feed from before expire.
create table docket_epoch (
  epoch uuid not null default gen_random_uuid()
);

create unique index docket_epoch_one_row on docket_epoch ((true));
insert into docket_epoch default values;

-- Returns the revision that follows an owner's newest one, which may be null.
create function next_revision(newest bigint) returns bigint
language sql as $$
  select greatest((extract(epoch from clock_timestamp()) * 1000000)::bigint, newest + 1)
$$;

-- Takes the lock of the owner in app.user_id before the statement locks any row. Deleting the user locks the user and
-- then the tasks, so that waiting for the owner's lock while holding a task could be a deadlock.
create function lock_owner() returns trigger
language plpgsql as $$
begin
  if pg_trigger_depth() = 1 and current_setting('app.user_id', true) <> '' then
    perform pg_advisory_xact_lock(1685021547, hashtext(current_setting('app.user_id', true)) & 1023);
  end if;
  return null;
end;
$$;

-- Sets the revision of an inserted or updated row. Its argument is the resource. A row that gets another id or owner
-- leaves a tombstone under the old ones.
--
-- Like the other functions with security definer it runs as the owner of the tables, since docket_app may not write
-- them, and neither may the login that deletes a user.
--
-- The first key of the lock is 'dock' in ASCII. The second has 1024 values: a restore writes the rows of all owners in one
-- statement, and PostgreSQL has memory for some 7000 locks by default.
create function set_revision() returns trigger
language plpgsql security definer set search_path from current as $$
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
$$;

-- Raises the revisions in the owners' summaries to those of the inserted or updated rows.
create function record_revision() returns trigger
language plpgsql security definer set search_path from current as $$
begin
  insert into task_summary as summary (user_id, rev)
  select user_id, max(rev) from new_rows group by user_id
  on conflict (user_id) do update set rev = greatest(summary.rev, excluded.rev);
  return null;
end;
$$;

-- Leaves a tombstone for each deleted row, and raises the revisions in the owners' summaries to those of the tombstones.
-- Its argument is the resource. The tombstones' revisions follow the owner's newest one, in the order of the rows' own.
create function record_tombstones() returns trigger
language plpgsql security definer set search_path from current as $$
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
$$;

-- Adds a number of tasks of one state and priority to an owner's totals. newest is their newest revision, or null.
create function task_summary_add(owner varchar, newest bigint, done boolean, rank varchar, tasks bigint) returns void
language plpgsql as $$
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
$$;

-- Counts tasks. For inserted and updated ones it also does what record_revision does for other resources, in the same
-- update of the summary.
create function count_tasks() returns trigger
language plpgsql security definer set search_path from current as $$
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
$$;

-- Counts all tasks anew, for a database whose tasks were loaded without their triggers. Earlier responses may have been
-- wrong: every owner gets a new revision, and positions in the change feed from before expire.
create function task_summary_rebuild() returns void
language plpgsql set search_path from current as $$
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
$$;

-- Truncating leaves no tombstones: positions in the change feed from before expire.
create function record_truncation() returns trigger
language plpgsql security definer set search_path from current as $$
begin
  perform task_summary_rebuild();
  return null;
end;
$$;

-- Records up to which revision the owners' tombstones were purged.
create function record_purge() returns trigger
language plpgsql security definer set search_path from current as $$
begin
  update task_summary as summary
  set purged_rev = greatest(summary.purged_rev, purged.rev)
  from (select user_id, max(rev) as rev from old_rows group by user_id) as purged
  where summary.user_id = purged.user_id;
  return null;
end;
$$;

-- The remaining functions let data be restored in any order of the tables, also several tables at a time.

-- Keeps a direct insert and statements that write tasks apart: both write the summaries of many owners, in any order.
create function lock_tasks() returns trigger
language plpgsql set search_path from current as $$
begin
  lock task in share row exclusive mode;
  return null;
end;
$$;

-- Merges the revisions of a restored summary and ignores its totals: the triggers of task count the restored tasks.
create function merge_summary() returns trigger
language plpgsql set search_path from current as $$
begin
  insert into task_summary as summary (user_id, rev, purged_rev)
  values (new.user_id, new.rev, new.purged_rev)
  on conflict (user_id) do update
  set rev = greatest(summary.rev, excluded.rev), purged_rev = greatest(summary.purged_rev, excluded.purged_rev);
  return null;
end;
$$;

-- Ignores an inserted row if the table has one already.
create function keep_one_row() returns trigger
language plpgsql as $$
declare
  there boolean;
begin
  execute format('select exists (select from %I.%I)', tg_table_schema, tg_table_name) into there;
  if there then
    return null;
  end if;
  return new;
end;
$$;

-- PostgreSQL checks the right to execute a trigger's function when the trigger is created, not when it fires. With the
-- right, any login could make one of these the trigger of a temporary table, and so write what the tables' owner may.
revoke execute on function
  set_revision(), record_revision(), record_tombstones(), count_tasks(), record_truncation(), record_purge()
from public;

create trigger task_lock_owner
  before insert or update or delete on task
  for each statement execute function lock_owner();

create trigger task_revision
  before insert or update or delete on task
  for each row execute function set_revision('task');

create trigger task_totals_insert
  after insert on task
  referencing new table as new_rows
  for each statement execute function count_tasks();

create trigger task_totals_update
  after update on task
  referencing old table as old_rows new table as new_rows
  for each statement execute function count_tasks();

create trigger task_totals_delete
  after delete on task
  referencing old table as old_rows
  for each statement execute function count_tasks();

create trigger task_tombstones
  after delete on task
  referencing old table as old_rows
  for each statement execute function record_tombstones('task');

create trigger task_truncated
  after truncate on task
  for each statement execute function record_truncation();

create trigger tombstone_lock_owner
  before delete on tombstone
  for each statement execute function lock_owner();

create trigger tombstone_purged
  after delete on tombstone
  referencing old table as old_rows
  for each statement execute function record_purge();

create trigger tombstone_truncated
  after truncate on tombstone
  for each statement execute function record_truncation();

-- The depth is 0 for direct inserts only, and not for those by other triggers.
create trigger tombstone_lock_tasks
  before insert on tombstone
  for each statement when (pg_trigger_depth() = 0) execute function lock_tasks();

create trigger tombstone_restored
  after insert on tombstone
  referencing new table as new_rows
  for each statement when (pg_trigger_depth() = 0) execute function record_revision();

create trigger task_summary_lock_tasks
  before insert on task_summary
  for each statement when (pg_trigger_depth() = 0) execute function lock_tasks();

create trigger task_summary_restored
  before insert on task_summary
  for each row when (pg_trigger_depth() = 0) execute function merge_summary();

create trigger docket_epoch_one_row
  before insert on docket_epoch
  for each row execute function keep_one_row();

create trigger docket_schema_version_one_row
  before insert on docket_schema_version
  for each row execute function keep_one_row();

-- There are tasks already if only this migration and later ones were reverted before.
select task_summary_rebuild();

grant select on task_summary, docket_epoch to docket_app;
grant select, delete on tombstone to docket_app;
select isolate_by_owner('task_summary'), isolate_by_owner('tombstone');

---- create above / drop below ----

drop trigger docket_schema_version_one_row on docket_schema_version;
drop trigger task_lock_owner on task;
drop trigger task_revision on task;
drop trigger task_tombstones on task;
drop trigger task_totals_insert on task;
drop trigger task_totals_update on task;
drop trigger task_totals_delete on task;
drop trigger task_truncated on task;
drop table docket_epoch, tombstone, task_summary;
drop function
  lock_owner(), set_revision(), record_revision(), record_tombstones(), count_tasks(), record_truncation(),
  record_purge(), lock_tasks(), merge_summary(), keep_one_row(), task_summary_rebuild(),
  task_summary_add(varchar, bigint, boolean, varchar, bigint), next_revision(bigint);
