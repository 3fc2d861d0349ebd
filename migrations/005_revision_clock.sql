-- A revision is the moment of the change, or one more than its owner's newest where the clock does not say a later
-- one. So it grows for each owner, tells nothing of what others write, and goes on growing in a restored database.
--
-- Revisions from the sequence that was here before are small numbers, and stay good.

-- The caller holds the owner's lock, and took it in a statement before: what this one sees must be later. It also set
-- the search_path. Without sorting, the indexes on rev are the only way to the newest. Otherwise a plan made while the
-- tables were small reads all of them for each of the rows that one statement brings.
create function next_revision(owner varchar) returns bigint
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

-- The lock above is taken when a row is locked already. Whoever creates a task of the same owner may hold it, and wait
-- for the user, and who deletes the user waits for that row: a deadlock. So a statement that says whose tasks it is
-- about takes the lock before it locks any. A cascade from "user" takes none, as above.
create function task_owner_lock() returns trigger
language plpgsql as $$
begin
  if pg_trigger_depth() = 1 and current_setting('app.user_id', true) <> '' then
    perform pg_advisory_xact_lock(1685021547, hashtext(current_setting('app.user_id', true)));
  end if;
  return null;
end;
$$;

create trigger task_owner_lock
  before insert or update or delete on task
  for each statement execute function task_owner_lock();

-- In the order of the tasks' own last changes, and after them: the newest may be gone by now. A statement may have
-- deleted the tasks of several owners.
create or replace function task_tombstones() returns trigger
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

-- To replace a function takes its settings away.
do $$
begin
  execute format('alter function task_revision() set search_path = %I, pg_temp', current_schema());
  execute format('alter function task_tombstones() set search_path = %I, pg_temp', current_schema());
end;
$$;

drop sequence task_rev_seq;

---- create above / drop below ----

create sequence task_rev_seq as bigint;
grant usage on sequence task_rev_seq to docket_app;

select setval('task_rev_seq', greatest(
  1,
  (select max(rev) from task),
  (select max(rev) from task_tombstone)
));

drop trigger task_owner_lock on task;
drop function task_owner_lock();

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
    values (old.user_id, old.id, nextval('task_rev_seq'))
    on conflict (user_id, id) do update set rev = excluded.rev, deleted_at = excluded.deleted_at;
  end if;
  perform pg_advisory_xact_lock(1685021547, hashtext(new.user_id));
  new.rev := nextval('task_rev_seq');
  return new;
end;
$$;

create or replace function task_tombstones() returns trigger
language plpgsql security definer as $$
begin
  insert into task_tombstone (user_id, id, rev)
  select user_id, id, nextval('task_rev_seq')
  from gone
  on conflict (user_id, id) do update set rev = excluded.rev, deleted_at = excluded.deleted_at;
  return null;
end;
$$;

do $$
begin
  execute format('alter function task_revision() set search_path = %I, pg_temp', current_schema());
  execute format('alter function task_tombstones() set search_path = %I, pg_temp', current_schema());
end;
$$;

drop function next_revision(varchar);
