-- A task belongs to a Better Auth user. Better Auth owns "user"; we rely on its id alone.

create table task (
  id          varchar(255) primary key,
  user_id     varchar(255) not null,
  title       varchar(200) not null,
  description text,
  priority    varchar(10)  not null default 'medium',
  completed   boolean      not null default false,
  created_at  timestamptz  not null default now(),
  updated_at  timestamptz  not null default now(),
  constraint fk_user foreign key (user_id) references "user" (id) on delete cascade,
  constraint chk_priority check (priority in ('low', 'medium', 'high')),
  constraint chk_title_length check (char_length(title) between 1 and 200),
  constraint chk_description_length check (char_length(description) <= 1000)
);

-- Counts an owner's tasks, and finds them for the foreign key's cascade.
create index idx_task_user_id on task (user_id);

-- Counts by state.
create index idx_task_completed on task (user_id, completed);

-- The default order of a list, and its cursor: ties are broken by id.
create index idx_task_created_at on task (user_id, created_at desc, id desc);

-- Pending tasks by priority. As text, desc would give medium, low, high; the expression orders by meaning.
create index idx_task_user_pending_priority on task (
  user_id,
  (case priority when 'high' then 3 when 'medium' then 2 else 1 end) desc,
  id desc
) where completed = false;

-- updated_at grows strictly with every change of a row: within one transaction, and when the clock steps back.
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
drop function update_updated_at_column();
