import { createDocketClient } from "@docket/client";
import { headers } from "next/headers";
import { Suspense } from "react";
import { SignIn } from "@/components/sign-in";
import { Tasks } from "@/components/tasks";
import { auth } from "@/lib/auth";

export default function Page() {
  return (
    <Suspense fallback={<p>Loading …</p>}>
      <Home />
    </Suspense>
  );
}

async function Home() {
  const requestHeaders = await headers();
  const session = await auth.api.getSession({ headers: requestHeaders });
  if (!session) return <SignIn />;

  const docket = createDocketClient({
    baseUrl: process.env.DOCKET_URL ?? process.env.NEXT_PUBLIC_DOCKET_URL ?? "", // as this server reaches it
    getToken: async () => (await auth.api.getToken({ headers: requestHeaders })).token,
    fetch: (request) => fetch(request, { cache: "no-store" }), // Next.js must not cache responses
  });
  const { data } = await docket.tasks.list({ status: "pending" });
  return (
    <main>
      <h1>Tasks of {session.user.name}</h1>
      <Tasks initial={data.tasks} />
    </main>
  );
}
