-- Row-level security: whatever a statement says, it reads and writes the rows of one owner only.
--
-- Statements run as the role docket_app, which cannot log in and has only the rights granted below and in later files.
-- The setting app.user_id names the owner for one transaction; without it there are no rows.

do $$
declare
  problem text := 'the role docket_app is missing and %I may not create roles';
  remedy text := 'Once for the whole cluster, as a login that may create roles: '
    'create role docket_app nologin noinherit; grant docket_app to %I with admin option;';
begin
  -- Roles belong to the cluster: a migration of another database may do the same at the same time.
  begin
    if not exists (select from pg_roles where rolname = 'docket_app') then
      create role docket_app nologin noinherit;
    end if;
  exception
    when duplicate_object or unique_violation then null;
  end;

  problem := '%I may not act as the role docket_app';
  remedy := 'As a login that has the admin option on docket_app: grant docket_app to %I with admin option;';
  begin
    -- The login of the service acts as docket_app. If it is not the login that migrates: grant docket_app to it.
    -- From PostgreSQL 16 on membership is not enough for that, and the creator of a role is only a member.
    if not pg_has_role(
      current_user,
      'docket_app',
      case when current_setting('server_version_num')::int < 160000 then 'member' else 'set' end
    ) then
      execute format('grant docket_app to %I', current_user);
    end if;
  exception
    when unique_violation then null;
  end;
exception
  when insufficient_privilege then
    raise exception '%', format(problem, current_user)
      using errcode = 'insufficient_privilege', hint = format(remedy, current_user);
end;
$$;

do $$
begin
  execute format('grant usage on schema %I to docket_app', current_schema());
end;
$$;

-- Confines docket_app to the owner's rows of a table with the column user_id. It grants no right on the table.
create function isolate_by_owner(isolated regclass) returns void
language plpgsql as $$
declare
  name text := (select relname from pg_class where oid = isolated);
  -- The setting is '' and not null after a transaction that set it.
  owned text := $condition$user_id = (select nullif(current_setting('app.user_id', true), ''))$condition$;
begin
  execute format('alter table %s enable row level security', isolated);
  execute format('create policy %I on %s to docket_app using (%s) with check (%s)',
    name || '_owner', isolated, owned, owned);
end;
$$;

grant select on docket_schema_version to docket_app;
grant select, insert, update, delete on task to docket_app;
select isolate_by_owner('task');

---- create above / drop below ----

-- The role stays: other databases of the cluster may use it.
drop policy task_owner on task;
alter table task disable row level security;
revoke all on task from docket_app;
revoke all on docket_schema_version from docket_app;
drop function isolate_by_owner(regclass);

do $$
begin
  execute format('revoke usage on schema %I from docket_app', current_schema());
end;
$$;
