// Parsed and validated documents, by the hash of their text, so that a query that comes again is neither parsed nor
// validated again. Bounded by the length of the texts (I9): a document takes some 100 bytes of memory per character.

import type { DocumentNode } from 'graphql';

/** Characters of query text that are kept parsed. */
export const DOCUMENT_STORE_CHARS_MAX = 1_000_000;

/** Least recently used documents go first. Async only because Apollo's interface is. */
export class DocumentStore {
  readonly #charsMax: number;
  /** In the order of last use. */
  readonly #documents = new Map<string, DocumentNode>();
  #chars = 0;

  constructor(charsMax: number = DOCUMENT_STORE_CHARS_MAX) {
    this.#charsMax = charsMax;
  }

  get(key: string): Promise<DocumentNode | undefined> {
    const document = this.#documents.get(key);
    if (document !== undefined) {
      this.#documents.delete(key);
      this.#documents.set(key, document);
    }
    return Promise.resolve(document);
  }

  set(key: string, document: DocumentNode): Promise<void> {
    this.#drop(key);
    this.#documents.set(key, document);
    this.#chars += charsOf(document);
    for (const oldest of this.#documents.keys()) {
      if (this.#chars <= this.#charsMax) break;
      this.#drop(oldest);
    }
    return Promise.resolve();
  }

  delete(key: string): Promise<boolean> {
    return Promise.resolve(this.#drop(key));
  }

  #drop(key: string): boolean {
    const document = this.#documents.get(key);
    if (document === undefined) return false;
    this.#chars -= charsOf(document);
    return this.#documents.delete(key);
  }
}

function charsOf(document: DocumentNode): number {
  return document.loc?.end ?? 0;
}
