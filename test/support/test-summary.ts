// The closing line of a CI run, from vitest's JSON report: one place to read off how many tests passed and failed.
//
// Hazard: a run can fail without a failed test (a file that does not load, an error outside any test, no report at
// all). Such a run must not close with "0 failed".

/** What is used of the report of vitest's `json` reporter. */
export interface TestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
}

export interface TestRun {
  /** Null where the run wrote none. */
  readonly report: TestReport | null;
  readonly exitCode: number;
}

/** `N passed, N failed`, then `, N skipped` where some were. A run that ended with an error counts one failure at least. */
export function summarise({ report, exitCode }: TestRun): string {
  const brokenFiles = report?.testResults.filter(isBroken).length ?? 0;
  const counted = (report?.numFailedTests ?? 0) + brokenFiles;
  const failed = exitCode === 0 && report !== null ? counted : Math.max(1, counted);
  const skipped = (report?.numPendingTests ?? 0) + (report?.numTodoTests ?? 0);
  const line = `${report?.numPassedTests ?? 0} passed, ${failed} failed`;
  return skipped === 0 ? line : `${line}, ${skipped} skipped`;
}

/** A file that failed although none of its tests did: it could not be loaded, or a hook threw. */
function isBroken({ status, assertionResults }: TestReport['testResults'][number]): boolean {
  return status === 'failed' && assertionResults.every((test) => test.status !== 'failed');
}
