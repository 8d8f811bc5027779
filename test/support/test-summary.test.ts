import { expect, it } from 'vitest';
import { summarise, type TestReport } from './test-summary.ts';

const GREEN: TestReport = {
  numPassedTests: 7,
  numFailedTests: 0,
  numPendingTests: 0,
  numTodoTests: 0,
  testResults: [{ status: 'passed', assertionResults: [{ status: 'passed' }] }],
};

it('counts what passed and failed', () => {
  expect(summarise({ report: GREEN, exitCode: 0 })).toBe('7 passed, 0 failed');
  const report = { ...GREEN, numFailedTests: 2 };
  expect(summarise({ report, exitCode: 1 })).toBe('7 passed, 2 failed');
});

it('names skipped tests where there are some, those still to be written included', () => {
  const report = { ...GREEN, numPendingTests: 2, numTodoTests: 1 };
  expect(summarise({ report, exitCode: 0 })).toBe('7 passed, 0 failed, 3 skipped');
});

it('counts a file that failed without a failed test', () => {
  const report = { ...GREEN, testResults: [{ status: 'failed', assertionResults: [] }] };
  expect(summarise({ report, exitCode: 1 })).toBe('7 passed, 1 failed');
});

it('counts a failure when the run ended with an error that no test shows', () => {
  expect(summarise({ report: GREEN, exitCode: 1 })).toBe('7 passed, 1 failed');
});

it('counts a failure when there is no report, whatever the exit code', () => {
  expect(summarise({ report: null, exitCode: 0 })).toBe('0 passed, 1 failed');
});
