-- The response to a request that carried an Idempotency-Key, kept for 24 h. It is written in the transaction of the
-- request's change, so that there are both or neither. A key belongs to its owner and is deleted with the user.

create table idempotency_key (
  user_id      varchar(255) not null,
  key          varchar(255) not null,
  request_hash bytea        not null,
  resource     varchar(32)  not null,
  response     jsonb        not null,
  created_at   timestamptz  not null default now(),
  primary key (user_id, key)
);

select reference_user('idempotency_key', 'fk_idempotency_key_user');

-- Finds expired keys.
create index idx_idempotency_key_created_at on idempotency_key (user_id, created_at);

grant select, insert, delete on idempotency_key to docket_app;
select isolate_by_owner('idempotency_key');

---- create above / drop below ----

drop table idempotency_key;
