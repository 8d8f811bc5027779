import { expect, it } from 'vitest';
import { type StartedProcess, startProcess } from './child-process.ts';
import { eventually } from './eventually.ts';

function startScript(script: string, env: Record<string, string> = {}): StartedProcess {
  return startProcess({ name: 'script', command: process.execPath, args: ['-e', script], env });
}

/** True for any process of this machine, whoever started it. */
function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const RUN_ON = 'setInterval(() => {}, 60_000);';

it('finds a line that has been printed and one still to come, on either stream', async () => {
  await using script = startScript(
    `process.on('SIGUSR2', () => console.error('second')); console.log('first'); ${RUN_ON}`,
  );
  expect(await script.waitForLine(/^fir/)).toBe('first');
  expect(await script.waitForLine((line) => line.length === 5)).toBe('first');
  const second = script.waitForLine(/second/);
  script.kill('SIGUSR2');
  expect(await second).toBe('second');
  expect(script.output()).toBe('first\nsecond');
});

it('stops waiting for a line when the process exits, and quotes its output', async () => {
  await using script = startScript(`console.error('port taken'); process.exitCode = 3;`);
  await expect(script.waitForLine(/ready/)).rejects.toThrow(
    /script .*exited with 3 before a line matching \/ready\/.*port taken/s,
  );
  expect(await script.exited).toEqual({ code: 3, signal: null });
});

it('stops waiting for a line at the time limit', async () => {
  await using script = startScript(RUN_ON);
  await expect(script.waitForLine(/ready/, 1)).rejects.toThrow(/no line matching \/ready\/ within 1 ms/);
});

it('keeps only the end of a long output', async () => {
  await using script = startScript(`for (let n = 1; n <= 5_000; n += 1) console.log('line ' + n);`);
  await script.exited;
  const lines = script.output().split('\n');
  expect(lines.length).toBe(2_000);
  expect(lines.at(-1)).toBe('line 5000');
});

it('leaves nothing running at the end of the scope, not even a paused process', async () => {
  let pid: number;
  {
    await using script = startScript(`console.log('up'); ${RUN_ON}`);
    await script.waitForLine(/up/);
    script.kill('SIGSTOP');
    ({ pid } = script);
    expect(exists(pid)).toBe(true);
  }
  expect(exists(pid)).toBe(false);
});

it('ends although a grandchild keeps the output open', async () => {
  const grandchild = `setTimeout(() => {}, 10_000)`;
  await using script = startScript(
    `const { spawn } = require('node:child_process');
     const child = spawn(process.execPath, ['-e', ${JSON.stringify(grandchild)}], { stdio: 'inherit' });
     console.log(child.pid); ${RUN_ON}`,
  );
  const pid = Number(await script.waitForLine(/^\d+$/));
  script.kill('SIGKILL');
  expect(await script.exited).toEqual({ code: null, signal: 'SIGKILL' });
  expect(exists(pid)).toBe(true);
  process.kill(pid, 'SIGKILL');
});

it('kills and reports a process that ignores SIGTERM', async () => {
  await using script = startScript(`process.on('SIGTERM', () => {}); console.log('deaf'); ${RUN_ON}`);
  await script.waitForLine(/deaf/);
  await expect(script.stop(10)).rejects.toThrow(/did not exit within 10 ms of SIGTERM.*deaf/s);
  expect(exists(script.pid)).toBe(false);
});

it('kills what it started when this process exits first', async () => {
  const module = new URL('child-process.ts', import.meta.url).href;
  const parent = startProcess({
    name: 'parent',
    command: process.execPath,
    args: [
      '--import',
      'tsx',
      '--input-type=module',
      '--eval',
      `import { startProcess } from ${JSON.stringify(module)};
       const child = startProcess({ name: 'child', command: process.execPath, args: ['-e', 'setInterval(() => {}, 60_000)'] });
       process.stdout.write(child.pid + '\\n', () => process.exit(0));`,
    ],
  });
  const pid = Number(await parent.waitForLine(/^\d+$/));
  await parent.exited;
  expect(await eventually('the child is gone', () => !exists(pid))).toBe(true);
});

it('gives the process its own variables and none of the developer', async () => {
  process.env['KAFKA_BROKERS'] = 'somewhere:9092';
  await using script = startScript(`console.log(JSON.stringify([process.env.KAFKA_BROKERS, process.env.NODE_ID]))`, {
    NODE_ID: 'n1',
  });
  delete process.env['KAFKA_BROKERS'];
  expect(await script.waitForLine(/n1/)).toBe('[null,"n1"]');
});

it('says that a command cannot be started', () => {
  expect(() => startProcess({ name: 'gone', command: '/nonexistent' })).toThrow(
    /gone: \/nonexistent cannot be started/,
  );
});
