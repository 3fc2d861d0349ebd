#!/bin/sh
# Makes the logins of compose.yaml in a new cluster. `app` is Better Auth's and owns its tables, `docket_migrate`
# owns Docket's, and `docket` serves and owns nothing.
set -eu
psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv app_password APP_PASSWORD
\getenv migrate_password MIGRATE_PASSWORD
\getenv docket_password DOCKET_PASSWORD
create role docket_app nologin noinherit;
create role app login password :'app_password';
create role docket_migrate login password :'migrate_password';
create role docket login password :'docket_password';
grant docket_app to docket_migrate with admin option;
grant docket_app to docket;
-- Neither owns the schema, since its owner may drop the other's tables.
grant create on schema public to app, docket_migrate;
-- Docket's tables refer to users, whose table Better Auth's migration makes later.
alter default privileges for role app in schema public grant references on tables to docket_migrate;
SQL
