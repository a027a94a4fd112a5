// One of several processes that share a file: run by store.test.ts and server.test.ts. It logs in, renews as often as it is
// told to, and prints the tokens it was given.
import { setTimeout as sleep } from 'node:timers/promises';

import { LoginSource } from '@gatehouse/client';
import { FileStore } from '@gatehouse/client/node';

const { baseURL, file, username, password, renewals } = JSON.parse(process.env['WORKER'] ?? '{}');

// Its clock runs ahead, so that each token is due at once.
let ahead = 0;
const source = new LoginSource({
  baseURL,
  username,
  password,
  store: new FileStore(file, { staleAfter: 1000 }),
  clock: { now: () => Date.now() + ahead, sleep: (ms, signal) => sleep(ms, undefined, signal ? { signal } : {}) },
});
for (let i = 0; i <= renewals; i++) {
  console.log((await source.token()).reveal());
  ahead += 3_500_000;
}
