-- The answer to a create that carried an Idempotency-Key, kept for 24 h: the task as it was created. A key belongs to
-- its owner. It is written in the transaction that creates the task, so that there is either both or neither.

create table idempotency_key (
  user_id      varchar(255) not null,
  key          varchar(255) not null,
  request_hash bytea        not null,
  kept_at      timestamptz  not null default now(),

  task_id      varchar(255) not null,
  title        varchar(200) not null,
  description  text,
  priority     varchar(10)  not null,
  completed    boolean      not null,
  created_at   timestamptz  not null,
  updated_at   timestamptz  not null,
  rev          bigint       not null,

  primary key (user_id, key),
  constraint fk_idempotency_key_user foreign key (user_id) references "user" (id) on delete cascade
);

-- Finds what has expired.
create index idx_idempotency_key_kept_at on idempotency_key (user_id, kept_at);

grant select, insert, delete on idempotency_key to docket_app;

alter table idempotency_key enable row level security;

create policy idempotency_key_owner on idempotency_key to docket_app
  using (user_id = (select nullif(current_setting('app.user_id', true), '')))
  with check (user_id = (select nullif(current_setting('app.user_id', true), '')));

---- create above / drop below ----

drop table idempotency_key;
