"use client";

import { isDocketProblem, type Task } from "@docket/client";
import { useRouter } from "next/navigation";
import { type SubmitEvent, useCallback, useEffect, useRef, useState } from "react";
import { authClient } from "@/lib/auth-client";
import { docket, messageOf } from "@/lib/docket";

export function Tasks({ initial }: { initial: Task[] }) {
  const router = useRouter();
  const [tasks, setTasks] = useState(initial);
  const [message, setMessage] = useState("");
  const etag = useRef<string>(undefined);

  const load = useCallback(async (signal?: AbortSignal) => {
    try {
      const result = await docket.tasks.list({ status: "pending" }, { ifNoneMatch: etag.current, signal });
      etag.current = result.etag;
      if (!result.notModified) setTasks(result.data.tasks);
    } catch (error) {
      if (!signal?.aborted) setMessage(messageOf(error));
    }
  }, []);

  useEffect(() => {
    const unmounted = new AbortController();
    const timer = setInterval(() => load(unmounted.signal), 5000);
    return () => {
      unmounted.abort();
      clearInterval(timer);
    };
  }, [load]);

  async function change(call: Promise<unknown>) {
    setMessage("");
    try {
      await call;
      return true;
    } catch (error) {
      const isStale = isDocketProblem(error, "precondition_failed");
      setMessage(isStale ? "The task has changed in the meantime. Please try again." : messageOf(error));
      return false;
    } finally {
      await load();
    }
  }

  async function add(event: SubmitEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = event.currentTarget;
    const isAdded = await change(docket.tasks.create({ title: String(new FormData(form).get("title")) }));
    if (isAdded) form.reset();
  }

  function rename(task: Task) {
    const title = window.prompt("Title", task.title);
    // The etag in the task makes sure that no change of somebody else is overwritten.
    if (title !== null) void change(docket.tasks.update(task.id, { ...task, title }));
  }

  async function signOut() {
    await authClient.signOut();
    docket.forgetToken();
    router.refresh();
  }

  return (
    <>
      <form onSubmit={add}>
        <input name="title" placeholder="New task" />
        <button>Add</button>
      </form>
      {message && <p role="alert">{message}</p>}
      <ul>
        {tasks.map((task) => (
          <li key={task.id}>
            <span>{task.title}</span>
            <button onClick={() => rename(task)}>Rename</button>
            <button onClick={() => change(docket.tasks.complete(task.id, true))}>Done</button>
          </li>
        ))}
      </ul>
      <button onClick={signOut}>Sign out</button>
    </>
  );
}
