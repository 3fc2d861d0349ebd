-- Due dates and recurrence.
--
-- A task is due on a day, as its owner means it: due_date with due_time and time_zone, of which due_at is the instant. The
-- instant is stored, so that lists can compare it; `docket admin recompute-due` computes it anew when the rules of a zone
-- change.
alter table task
  add column due_date date,
  add column due_time time,
  add column time_zone varchar(64),
  add column due_at timestamptz,
  add column due_order timestamp, -- the key of sort=due, kept by a trigger: as an expression it would be no index condition
  add column completed_at timestamptz, -- kept by a trigger; null for tasks that were completed before this migration
  add column recurrence_rule varchar(255),
  add column recurrence_mode varchar(20) not null default 'skip_missed',
  add column series_id varchar(255),
  add column occurrence_date date, -- the day that the rule gave
  add column next_task_id varchar(255), -- the occurrence that followed; it may be deleted
  add constraint chk_due_date check (due_date between '1970-01-01' and '9999-12-31'),
  add constraint chk_due_time check (due_time is null or due_date is not null and time_zone is not null),
  add constraint chk_due_at check ((due_at is null) = (due_time is null)),
  add constraint chk_completed_at check (completed or completed_at is null),
  add constraint chk_recurrence_rule check (
    recurrence_rule is null or due_date is not null and series_id is not null and occurrence_date is not null
  ),
  add constraint chk_recurrence_mode check (recurrence_mode in ('skip_missed', 'keep_missed', 'after_completion'));

-- An occurrence exists once, however often the one before it is completed.
create unique index idx_task_occurrence on task (user_id, series_id, occurrence_date) where series_id is not null;

-- Tasks by when they are due: by day, then time with whole days last. Null sorts last in both directions.
create index idx_task_due_desc on task (
  user_id,
  (case when due_order is null then timestamp '-infinity' else due_order end) desc,
  id desc
);

create index idx_task_due_asc on task (
  user_id,
  (case when due_order is null then timestamp 'infinity' else due_order end),
  id
);

-- Keeps due_order. Under row-level security a condition on an expression of due_date and due_time could not use an index,
-- because PostgreSQL does not consider their sum leakproof, and a generated column would rewrite the table.
create function keep_due_order() returns trigger
language plpgsql as $$
begin
  new.due_order := new.due_date + coalesce(new.due_time, time '23:59:59');
  return new;
end;
$$;

create trigger task_due_order
  before insert or update of due_date, due_time, due_order on task
  for each row when (new.due_date is not null or new.due_order is not null) execute function keep_due_order();

-- Keeps completed_at: the time at which the task was last completed, whatever a statement says. Data that is loaded by an
-- operator, without app.user_id, may bring its own.
create function keep_completed_at() returns trigger
language plpgsql as $$
begin
  new.completed_at := case
    when not new.completed then null
    when tg_op = 'UPDATE' and old.completed then old.completed_at
    when tg_op = 'UPDATE' then clock_timestamp()
    when coalesce(current_setting('app.user_id', true), '') = '' then coalesce(new.completed_at, now())
    else now()
  end;
  return new;
end;
$$;

create trigger task_completed_at
  before insert or update on task
  for each row when (new.completed or new.completed_at is not null) execute function keep_completed_at();

-- Begins the series of a new task that has a rule.
create function begin_series() returns trigger
language plpgsql as $$
begin
  new.series_id := coalesce(new.series_id, new.id);
  new.occurrence_date := coalesce(new.occurrence_date, new.due_date);
  return new;
end;
$$;

create trigger task_series
  before insert on task
  for each row when (new.recurrence_rule is not null) execute function begin_series();

---- create above / drop below ----

drop trigger task_series on task;
drop trigger task_completed_at on task;
drop trigger task_due_order on task;
drop function begin_series();
drop function keep_completed_at();
drop function keep_due_order();
drop index idx_task_due_asc;
drop index idx_task_due_desc;
drop index idx_task_occurrence;
alter table task
  drop column due_date,
  drop column due_time,
  drop column time_zone,
  drop column due_at,
  drop column due_order,
  drop column completed_at,
  drop column recurrence_rule,
  drop column recurrence_mode,
  drop column series_id,
  drop column occurrence_date,
  drop column next_task_id;
