-- The wall behind the statements' own filters: whatever a statement says, it sees and writes one owner's rows.
--
-- Statements run as the role docket_app, which cannot log in and has nothing but the rights below. The owner comes in
-- app.user_id, set for one transaction; where it is not set there are no rows.

do $$
begin
  if not exists (select from pg_roles where rolname = 'docket_app') then
    create role docket_app nologin noinherit;
  end if;
exception
  -- A role belongs to the whole cluster: another database of it may be migrating at this moment.
  when duplicate_object or unique_violation then null;
  when insufficient_privilege then
    raise exception 'the role docket_app is missing and % may not create roles', current_user
      using errcode = 'insufficient_privilege',
            hint = format('Once for the whole cluster, as a login that may create roles: '
              'create role docket_app nologin noinherit; grant docket_app to %I with admin option;', current_user);
end;
$$;

do $$
begin
  -- The login that serves acts as docket_app. Where it is another one than migrates: grant docket_app to that login.
  -- From PostgreSQL 16 on, to be a member is not enough for that, and who made the role is no more than a member.
  if not pg_has_role(
    current_user, 'docket_app', case when current_setting('server_version_num')::int < 160000 then 'member' else 'set' end
  ) then
    execute format('grant docket_app to %I', current_user);
  end if;
exception
  -- Another database of the cluster granted the same at the same moment.
  when unique_violation then null;
  when insufficient_privilege then
    raise exception '% may not act as the role docket_app', current_user
      using errcode = 'insufficient_privilege',
            hint = format('As a login that has the admin option on docket_app: grant docket_app to %I with admin option;', current_user);
end;
$$;

do $$
begin
  execute format('grant usage on schema %I to docket_app', current_schema());
end;
$$;

grant select on docket_schema_version to docket_app;
grant select, insert, update, delete on task to docket_app;

alter table task enable row level security;

-- After a transaction that set it, the variable is '' and not null.
create policy task_owner on task to docket_app
  using (user_id = (select nullif(current_setting('app.user_id', true), '')))
  with check (user_id = (select nullif(current_setting('app.user_id', true), '')));

---- create above / drop below ----

-- The role stays: other databases of the cluster may use it.
drop policy task_owner on task;
alter table task disable row level security;
revoke all on task from docket_app;
revoke all on docket_schema_version from docket_app;

do $$
begin
  execute format('revoke usage on schema %I from docket_app', current_schema());
end;
$$;
