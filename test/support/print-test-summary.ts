// node --import tsx test/support/print-test-summary.ts REPORT EXIT_CODE: the last line of .ci/run.
import { readFileSync } from 'node:fs';
import { summarise, type TestReport } from './test-summary.ts';

function readReport(path: string): TestReport | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as TestReport;
  } catch {
    // Missing or cut short: the run did not get as far as writing it, which counts as a failure.
    return null;
  }
}

const [path = '', exitCode = '1'] = process.argv.slice(2);
console.log(summarise({ report: readReport(path), exitCode: Number(exitCode) }));
