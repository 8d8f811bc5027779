// The Consul that the system tests run: CONSUL_BIN, else the one on the PATH, else Debian 11's package, unpacked into
// the project's cache without root and without touching the machine's own package lists.
//
// Debian 11 is the last release with a Consul (MPL); apt checks the archive's signature with the machine's Debian keys.
// The mirror and any proxy are the machine's own, asked of apt itself.
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Availability, reasonOf, unavailable } from './availability.ts';
import { findOnPath, findProgram } from './programs.ts';
import { runCommand } from './run-command.ts';
import { cached } from './service-cache.ts';

const CONSUL_VERSION = '1.8.7';
const DEBIAN_RELEASE = 'bullseye';
const DEBIAN_KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const APT_TIMEOUT_MS = 120_000;

export async function findConsul(): Promise<Availability<{ command: string }>> {
  const installed = findProgram('CONSUL_BIN', 'consul');
  if (installed.available || (process.env['CONSUL_BIN'] ?? '') !== '') return installed;
  if (findOnPath('apt-get') === undefined || findOnPath('dpkg-deb') === undefined) {
    return unavailable('no consul on the PATH, and no apt to fetch one with; install it or set CONSUL_BIN');
  }
  try {
    const folder = await cached({ name: `consul-${CONSUL_VERSION}`, build: fetchConsul });
    return { available: true, command: join(folder, 'consul') };
  } catch (error) {
    return unavailable(`consul could not be fetched; install it or set CONSUL_BIN: ${reasonOf(error)}`);
  }
}

async function fetchConsul(folder: string): Promise<void> {
  const apt = join(folder, 'apt');
  const configuration = await writeAptConfiguration(apt);
  const options = { cwd: apt, env: { APT_CONFIG: configuration }, timeoutMs: APT_TIMEOUT_MS };
  await runCommand('apt-get', ['--quiet', 'update'], options);
  await runCommand('apt-get', ['--quiet', 'download', `consul=${CONSUL_VERSION}*`], options);
  const archive = (await readdir(apt)).find((name) => name.endsWith('.deb'));
  if (archive === undefined) throw new Error(`apt-get downloaded no package of consul ${CONSUL_VERSION}`);
  await runCommand('dpkg-deb', ['--extract', archive, 'unpacked'], options);
  await rename(join(apt, 'unpacked/usr/bin/consul'), join(folder, 'consul'));
  await rm(apt, { recursive: true });
  const { stdout } = await runCommand(join(folder, 'consul'), ['version'], { timeoutMs: APT_TIMEOUT_MS });
  if (!stdout.includes(`v${CONSUL_VERSION}`)) throw new Error(`wanted consul ${CONSUL_VERSION}, got ${stdout}`);
}

/** Apt reads the file named by APT_CONFIG first, and from it learns to read no other. */
async function writeAptConfiguration(folder: string): Promise<string> {
  await mkdir(join(folder, 'lists/partial'), { recursive: true });
  await mkdir(join(folder, 'cache/archives/partial'), { recursive: true });
  await writeFile(join(folder, 'status'), '');
  await writeFile(
    join(folder, 'sources.list'),
    `deb [signed-by=${DEBIAN_KEYRING}] ${await ownMirror()} ${DEBIAN_RELEASE} main\n`,
  );
  const configuration = join(folder, 'apt.conf');
  const lines = [
    ...(await ownTransport()),
    'Dir::Etc::main "/dev/null";',
    'Dir::Etc::parts "/dev/null";',
    'Dir::Etc::sourceparts "/dev/null";',
    `Dir::Etc::sourcelist "${join(folder, 'sources.list')}";`,
    `Dir::State::lists "${join(folder, 'lists')}";`,
    `Dir::State::status "${join(folder, 'status')}";`,
    `Dir::Cache "${join(folder, 'cache')}";`,
    'APT::Sandbox::User "";',
    'Acquire::Languages "none";',
    'Acquire::Retries "3";',
  ];
  await writeFile(configuration, `${lines.join('\n')}\n`);
  return configuration;
}

/** The mirror that this machine takes its own Debian release from. */
async function ownMirror(): Promise<string> {
  const format = '$(COMPONENT) $(ORIGIN) $(REPO_URI)';
  const { stdout } = await runCommand('apt-get', ['indextargets', '--format', format, 'Created-By: Packages'], {
    timeoutMs: APT_TIMEOUT_MS,
  });
  const mirror = stdout
    .split('\n')
    .map((line) => /^main (?:Debian|\$\(ORIGIN\)) (\S+\/debian\/?)$/.exec(line)?.[1])
    .find((uri) => uri !== undefined);
  if (mirror === undefined) throw new Error("this machine's package sources name no Debian mirror");
  return mirror;
}

/** How this machine reaches its mirrors (proxies and the like); which indexes it reads is not taken over. */
async function ownTransport(): Promise<string[]> {
  const { stdout } = await runCommand('apt-config', ['dump'], { timeoutMs: APT_TIMEOUT_MS });
  return stdout.split('\n').filter((line) => line.startsWith('Acquire::') && !line.startsWith('Acquire::IndexTargets'));
}
