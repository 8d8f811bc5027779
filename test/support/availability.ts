// The answer to "can this machine run that service?": either the facts a test needs, or the reason why not.

/** `Facts` when the service can be used here; else one sentence that tells a reader what to install or set. */
export type Availability<Facts extends object> =
  ({ readonly available: true } & Readonly<Facts>) | { readonly available: false; readonly reason: string };

export function unavailable(reason: string): { readonly available: false; readonly reason: string } {
  return { available: false, reason };
}

/** One line of an error, for a reason: the cause of a failed download is usually its last line. */
export function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replaceAll(/\s*\n\s*/g, ' | ').trim();
}
