-- What a search looks at, and the limit on an owner's tasks.

-- Title and description in the form in which a search compares them: case folded, composed, and with the letters alike
-- that only differ by their place in a word. Computed once for each change of a task, since it takes too long to do for
-- all tasks of an owner with every search.
--
-- The case of letters depends on the collation. The database's own may know ASCII only, so the first of a list is used
-- that the database has; it is the column's collation, and the service folds what it searches for with that.
-- store/task_list.go has the same expression. Between the two stands a letter that folding never leaves.
do $$
declare
  collations text[] := array['und-x-icu', 'pg_c_utf8', 'C.utf8', 'C.UTF-8', 'en_US.utf8'];
  folding text := coalesce((
    select collname
    from pg_collation
    where collname = any (collations)
      and collnamespace = 'pg_catalog'::regnamespace
      and collencoding in (-1, pg_char_to_encoding(getdatabaseencoding()))
    order by array_position(collations, collname::text)
    limit 1
  ), 'default');
  -- Normalizing takes longest, and changes no ASCII.
  folded text := $sql$
    replace(replace(translate(lower(upper(
      (case when octet_length(%1$s) = char_length(%1$s) then %1$s else normalize(%1$s, nfkc) end) collate %2$I
    )), 'ς', 'σ'), 'ß', 'ss'), 'i' || chr(775), 'i')$sql$;
begin
  execute format(
    'alter table task add column search_text text collate %I generated always as (%s || ''A'' || %s) stored',
    folding, format(folded, 'title::text', folding), format(folded, 'coalesce(description, '''')', folding)
  );
end;
$$;

-- The function keeps this search path.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Refuses an insert that leaves the owner with more tasks than app.max_tasks. It fires after the trigger that counts,
-- whose name comes first, and under the owner's lock, so the count is exact.
create function limit_tasks() returns trigger
language plpgsql set search_path from current as $$
begin
  if (
    select pending_low + pending_medium + pending_high + completed_low + completed_medium + completed_high
    from task_summary
    where user_id = current_setting('app.user_id')
  ) > current_setting('app.max_tasks')::bigint then
    raise exception 'too many tasks of one owner';
  end if;
  return null;
end;
$$;

create trigger task_totals_limit
  after insert on task
  for each statement when (current_setting('app.max_tasks', true) <> '') execute function limit_tasks();

---- create above / drop below ----

drop trigger task_totals_limit on task;
drop function limit_tasks();
alter table task drop column search_text;
