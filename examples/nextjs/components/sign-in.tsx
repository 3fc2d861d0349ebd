"use client";

import { useRouter } from "next/navigation";
import { type SubmitEvent, useState } from "react";
import { authClient } from "@/lib/auth-client";
import { docket } from "@/lib/docket";

export function SignIn() {
  const router = useRouter();
  const [isNew, setIsNew] = useState(true);
  const [message, setMessage] = useState("");

  async function submit(event: SubmitEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (name: string) => String(form.get(name) ?? "");
    const credentials = { email: text("email"), password: text("password") };
    const { error } = isNew
      ? await authClient.signUp.email({ ...credentials, name: text("name") })
      : await authClient.signIn.email(credentials);
    if (error) return setMessage(error.message ?? "That did not work. Please try again.");
    docket.forgetToken(); // of the user before
    router.refresh();
  }

  return (
    <form onSubmit={submit}>
      <h1>{isNew ? "Sign up" : "Sign in"}</h1>
      {isNew && <input name="name" placeholder="Name" required />}
      <input name="email" type="email" placeholder="Email" required />
      <input name="password" type="password" placeholder="Password" minLength={8} required />
      <button>{isNew ? "Create account" : "Sign in"}</button>
      <button type="button" onClick={() => setIsNew(!isNew)}>
        {isNew ? "I have an account" : "I am new here"}
      </button>
      {message && <p role="alert">{message}</p>}
    </form>
  );
}
