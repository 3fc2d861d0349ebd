-- An index for every order that a list can have, so that a page costs the same however many tasks its owner has. See
-- docs/adr/0022.
--
-- Writes wait while they are built. Whoever has millions of tasks builds those three beforehand, with `create index
-- concurrently`, and this finds them.

create index if not exists idx_task_title on task (user_id, title, id);

create index if not exists idx_task_updated_at on task (user_id, updated_at desc, id desc);

create index if not exists idx_task_priority on task (
  user_id,
  (case priority when 'high' then 3 when 'medium' then 2 else 1 end) desc,
  id desc
);

-- Tasks of one state in the default order. What used to be counted with it is in the summary now.
drop index idx_task_completed;
create index idx_task_completed on task (user_id, completed, created_at desc, id desc);

-- All others begin with the owner, too. And the newest revision is in the summary.
drop index idx_task_user_id;
drop index idx_task_rev;

---- create above / drop below ----

create index idx_task_rev on task (user_id, rev);
create index idx_task_user_id on task (user_id);

drop index idx_task_completed;
create index idx_task_completed on task (user_id, completed);

drop index idx_task_priority;
drop index idx_task_updated_at;
drop index idx_task_title;
