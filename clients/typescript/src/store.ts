/**
 * Where a source keeps its tokens, so that a restart finds them and several workers share them. What is kept is text that
 * holds secrets; its form is the source's own affair. One place is for one credential.
 */
export interface TokenStore {
  /** What was saved last, undefined if nothing was. */
  load(): Promise<string | undefined>;
  /** Keeps text in place of what was there, whole or not at all. When it resolves, the text survives this process. */
  save(text: string): Promise<void>;
  /** Runs act while nobody else who shares the place is within a call of lock. */
  lock<T>(act: () => Promise<T>): Promise<T>;
}

/** Keeps tokens in memory, for as long as the program runs. The default. */
export class MemoryStore implements TokenStore {
  #text: string | undefined;
  #last: Promise<unknown> = Promise.resolve();

  async load(): Promise<string | undefined> {
    return this.#text;
  }

  async save(text: string): Promise<void> {
    this.#text = text;
  }

  lock<T>(act: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(act);
    this.#last = mine.catch(() => {});
    return mine;
  }
}
