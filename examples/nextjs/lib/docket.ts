import { createDocketClient, DocketNetworkError } from "@docket/client";
import { authClient } from "@/lib/auth-client";

/** For browsers only: it keeps the token of the user who is signed in. */
export const docket = createDocketClient({
  baseUrl: process.env.NEXT_PUBLIC_DOCKET_URL ?? "",
  async getToken() {
    const { data, error } = await authClient.token();
    if (error) throw new Error("Please sign in.");
    return data.token;
  },
});

/** Returns a sentence for the user. */
export function messageOf(error: unknown): string {
  if (error instanceof DocketNetworkError) {
    console.error(error); // names the possible causes
    return "There is no connection. Please try again.";
  }
  return error instanceof Error ? error.message : String(error);
}
