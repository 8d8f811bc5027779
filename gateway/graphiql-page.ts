// GraphiQL, served from local files only: the packaged builds of GraphiQL and React, and a page of our own. The policy
// that comes with the page forbids the browser to load anything from elsewhere.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Under which the page's own files are served, beside the endpoint. */
const ASSETS_PATH = '/graphiql/';

const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  // GraphiQL's editor sets styles from its code.
  "style-src 'self' 'unsafe-inline'",
  "font-src 'self' data:",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** A file as it is served. */
export interface PageFile {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

let loaded: ReadonlyMap<string, PageFile> | undefined;

/** The page and its files by path; read all at once, and once in a process. */
export function loadGraphiqlPage(): ReadonlyMap<string, PageFile> {
  loaded ??= readPage();
  return loaded;
}

function readPage(): ReadonlyMap<string, PageFile> {
  return new Map([
    ['/graphql', pageFile('text/html', ownFile('index.html'))],
    [`${ASSETS_PATH}page.css`, pageFile('text/css', ownFile('page.css'))],
    [`${ASSETS_PATH}page.js`, pageFile('text/javascript', ownFile('page.js'))],
    [`${ASSETS_PATH}graphiql.css`, pageFile('text/css', packagedFile('graphiql', 'graphiql.min.css'))],
    [`${ASSETS_PATH}graphiql.js`, pageFile('text/javascript', packagedFile('graphiql', 'graphiql.min.js'))],
    [`${ASSETS_PATH}react.js`, pageFile('text/javascript', packagedFile('react', 'umd/react.production.min.js'))],
    [
      `${ASSETS_PATH}react-dom.js`,
      pageFile('text/javascript', packagedFile('react-dom', 'umd/react-dom.production.min.js')),
    ],
  ]);
}

/** Browsers ask again each time, and get the bytes only when they have changed. */
function pageFile(type: string, path: string): PageFile {
  const body = readFileSync(path);
  const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`;
  return {
    headers: {
      'content-type': `${type}; charset=utf-8`,
      'cache-control': 'no-cache',
      etag,
      vary: 'accept',
      'content-security-policy': CONTENT_SECURITY_POLICY,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
    },
    body,
  };
}

function ownFile(name: string): string {
  return fileURLToPath(new URL(`graphiql/${name}`, import.meta.url));
}

/** A file that the package ships but does not export. */
function packagedFile(packageName: string, path: string): string {
  return join(dirname(createRequire(import.meta.url).resolve(`${packageName}/package.json`)), path);
}
