// Which version of the product this process runs, as package.json says.

import { readFileSync } from 'node:fs';

const PACKAGE_FILE = new URL('../package.json', import.meta.url);

export const VERSION: string = (JSON.parse(readFileSync(PACKAGE_FILE, 'utf8')) as { version: string }).version;
