/** What only Node can do: keep tokens in a file. */
import { randomBytes } from 'node:crypto';
import { link, open, readFile, rename, rm, stat, unlink, utimes } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

import type { TokenStore } from './store.js';

export type { TokenStore };

export interface FileStoreOptions {
  /** After so many milliseconds without a sign of life the lock of another process is taken from it, 5,000 if left out. */
  staleAfter?: number;
}

/**
 * Keeps tokens in a file that its owner alone can read (0600), and that several processes of one machine can share. Beside it
 * stands, while one of them renews, the file's name with `.lock`. The folder must be its owner's too: who can write there can
 * put another file in this one's place.
 */
export class FileStore implements TokenStore {
  readonly #path: string;
  readonly #lock: string;
  readonly #staleAfter: number;

  constructor(path: string, options: FileStoreOptions = {}) {
    this.#path = path;
    this.#lock = `${path}.lock`;
    this.#staleAfter = options.staleAfter ?? 5000;
  }

  async load(): Promise<string | undefined> {
    let file;
    try {
      file = await open(this.#path, 'r');
    } catch (e) {
      return absent(e, undefined);
    }
    try {
      const { mode } = await file.stat();
      if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
        throw new Error(`${this.#path} can be read by others than its owner: chmod 600 it, and think about who has`);
      }
      return await file.readFile('utf8');
    } finally {
      await file.close();
    }
  }

  async save(text: string): Promise<void> {
    const temporary = `${this.#path}.${unique()}.new`;
    try {
      const file = await open(temporary, 'wx', 0o600);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, this.#path);
    } catch (e) {
      await rm(temporary, { force: true });
      throw e;
    }
  }

  async lock<T>(act: () => Promise<T>): Promise<T> {
    const mine = unique();
    await this.#acquire(mine);
    const alive = setInterval(() => {
      const now = new Date();
      utimes(this.#lock, now, now).catch(() => {}); // if it was taken from us, it was
    }, this.#staleAfter / 4);
    try {
      return await act();
    } finally {
      clearInterval(alive);
      if ((await this.#seen())?.owner === mine) {
        await unlink(this.#lock).catch((e) => absent(e, undefined));
      }
    }
  }

  async #acquire(mine: string): Promise<void> {
    for (let last = '', since = 0, looks = 0; ; looks++) {
      try {
        const file = await open(this.#lock, 'wx', 0o600);
        await file.writeFile(mine);
        await file.close();
        return;
      } catch (e) {
        if ((e as NodeJS.ErrnoException).code !== 'EEXIST') {
          throw e;
        }
      }
      // By its own watch, for the clocks of two machines that share a file system may differ; and after several looks, for
      // the watch goes on while a machine sleeps, with all that runs on it.
      const seen = await this.#seen();
      const now = performance.now();
      const sign = seen ? `${seen.owner} ${seen.touched}` : '';
      if (seen && sign === last && looks > 4 && now - since > this.#staleAfter) {
        await this.#take(seen.owner);
        continue;
      }
      if (sign !== last) {
        [last, since, looks] = [sign, now, 0];
      }
      await sleep(20 + 60 * Math.random());
    }
  }

  /** Whose the lock is, and when it last showed a sign of life. */
  async #seen(): Promise<{ owner: string; touched: number } | undefined> {
    try {
      const [owner, { mtimeMs }] = await Promise.all([readFile(this.#lock, 'utf8'), stat(this.#lock)]);
      return { owner, touched: mtimeMs };
    } catch (e) {
      return absent(e, undefined);
    }
  }

  /** Takes the lock from a process that is gone. Of several who see that, one does; whoever comes too late and has moved the
   * next one's lock puts it back. In between two may hold it: then one of their refreshes is refused and logs in again. */
  async #take(owner: string): Promise<void> {
    const aside = `${this.#lock}.${unique()}`;
    try {
      await rename(this.#lock, aside);
    } catch (e) {
      return absent(e, undefined);
    }
    if ((await readFile(aside, 'utf8')) !== owner) {
      await link(aside, this.#lock).catch(() => {});
    }
    await unlink(aside);
  }
}

function unique(): string {
  return randomBytes(8).toString('hex');
}

/** Returns value if the error is that a file is not there, and throws it otherwise. */
function absent<T>(e: unknown, value: T): T {
  if ((e as NodeJS.ErrnoException).code === 'ENOENT') {
    return value;
  }
  throw e;
}
