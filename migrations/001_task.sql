-- Tasks. Each belongs to a user of Better Auth, which owns the table of users; Docket relies on its column id alone.

create table task (
  id          varchar(255) primary key,
  user_id     varchar(255) not null,
  title       varchar(200) not null,
  description text,
  priority    varchar(10)  not null default 'medium',
  completed   boolean      not null default false,
  created_at  timestamptz  not null default now(),
  updated_at  timestamptz  not null default now(),
  rev         bigint       not null, -- set by a trigger, see 003_revision.sql
  constraint chk_priority check (priority in ('low', 'medium', 'high')),
  constraint chk_title_length check (char_length(title) between 1 and 200),
  constraint chk_description_length check (char_length(description) <= 1000)
);

-- References Better Auth's table of users: that of the tasks, if they have one, or else the one that the setting
-- docket.user_table names, or else "user".
create function reference_user(referring regclass, constraint_name text) returns void
language plpgsql as $$
declare
  users regclass := coalesce(
    (select confrelid from pg_constraint where conrelid = 'task'::regclass and conname = 'fk_user'),
    to_regclass(coalesce(nullif(current_setting('docket.user_table', true), ''), '"user"'))
  );
begin
  execute format('alter table %s add constraint %I foreign key (user_id) references %s (id) on delete cascade',
    referring, constraint_name, users);
end;
$$;

select reference_user('task', 'fk_user');

-- Finds one task. The primary key would read another owner's row before discarding it, which takes longer than finding
-- nothing, so that the response time would tell whether an id exists.
create unique index idx_task_user_id on task (user_id, id);

-- Each order of a list has an index, so that a page costs the same however many tasks its owner has (ADR 22). Ties are
-- broken by id, and both directions and pages by cursor use the same index.
create index idx_task_created_at on task (user_id, created_at desc, id desc);
create index idx_task_updated_at on task (user_id, updated_at desc, id desc);
create index idx_task_title on task (user_id, title, id);

-- Sorts by meaning. As text, desc would give medium, low, high.
create index idx_task_priority on task (
  user_id,
  (case priority when 'high' then 3 when 'medium' then 2 else 1 end) desc,
  id desc
);

-- Tasks of one state in the default order.
create index idx_task_completed on task (user_id, completed, created_at desc, id desc);

-- Pending tasks by priority.
create index idx_task_user_pending_priority on task (
  user_id,
  (case priority when 'high' then 3 when 'medium' then 2 else 1 end) desc,
  id desc
) where completed = false;

-- The change feed reads an owner's tasks by revision.
create index idx_task_rev on task (user_id, rev);

-- Makes updated_at grow strictly with every change of a row, also in one transaction and when the clock is set back.
create function update_updated_at_column() returns trigger
language plpgsql as $$
begin
  new.updated_at := greatest(clock_timestamp(), old.updated_at + interval '1 microsecond');
  return new;
end;
$$;

create trigger task_updated_at
  before update on task
  for each row execute function update_updated_at_column();

---- create above / drop below ----

drop table task;
drop function reference_user(regclass, text);
drop function update_updated_at_column();
