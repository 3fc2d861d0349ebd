-- A revision for every change of an owner's tasks: what ETags, and later a change feed, stand on.
--
-- The revisions of one owner become visible in their own order: a change takes its number under a lock that it holds
-- until it commits. Whoever has seen revision n of an owner will never see an older one appear.

create sequence task_rev_seq as bigint;

-- The default numbers the tasks that are there already, without firing a trigger; from then on the trigger numbers.
alter table task add column rev bigint not null default nextval('task_rev_seq');
alter table task alter column rev drop default;

-- What was deleted, and when. No foreign key: deleting a user deletes its tasks, and each of those leaves a row here.
create table task_tombstone (
  user_id    varchar(255) not null,
  id         varchar(255) not null,
  rev        bigint       not null,
  deleted_at timestamptz  not null default now(),
  primary key (user_id, id)
);

create index idx_task_rev on task (user_id, rev);

-- Finds one task. The primary key would read somebody else's row only to throw it away, which takes a moment longer
-- than to find nothing: a stranger could tell the two apart.
create unique index idx_task_owner_id on task (user_id, id);

create index idx_task_tombstone_rev on task_tombstone (user_id, rev);
create index idx_task_tombstone_deleted_at on task_tombstone (user_id, deleted_at);

create function task_revision() returns trigger
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

create trigger task_revision
  before insert or update or delete on task
  for each row execute function task_revision();

-- As the tables' owner: when a user is deleted this runs as whoever deletes it, who has no rights here.
create function task_tombstones() returns trigger
language plpgsql security definer as $$
begin
  insert into task_tombstone (user_id, id, rev)
  select user_id, id, nextval('task_rev_seq')
  from gone
  on conflict (user_id, id) do update set rev = excluded.rev, deleted_at = excluded.deleted_at;
  return null;
end;
$$;

-- Both find our tables whatever search_path the session has.
do $$
begin
  execute format('alter function task_revision() set search_path = %I, pg_temp', current_schema());
  execute format('alter function task_tombstones() set search_path = %I, pg_temp', current_schema());
end;
$$;

-- Whoever may execute it could make it the trigger of a temporary table, and so write what our tables' owner may.
-- PostgreSQL asks for this right when a trigger is made, not when it fires.
revoke execute on function task_tombstones() from public;

-- After all rows of the statement are locked, for the same reason.
create trigger task_tombstones
  after delete on task
  referencing old table as gone
  for each statement execute function task_tombstones();

grant usage on sequence task_rev_seq to docket_app;
grant select, insert, update, delete on task_tombstone to docket_app;

alter table task_tombstone enable row level security;

create policy task_tombstone_owner on task_tombstone to docket_app
  using (user_id = (select nullif(current_setting('app.user_id', true), '')))
  with check (user_id = (select nullif(current_setting('app.user_id', true), '')));

---- create above / drop below ----

drop trigger task_tombstones on task;
drop trigger task_revision on task;
drop function task_tombstones();
drop function task_revision();
drop table task_tombstone;
drop index idx_task_owner_id;
alter table task drop column rev;
drop sequence task_rev_seq;
