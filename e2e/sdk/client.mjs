// Drives the published SDK as a partner's own program would. sdk_test.go says what to do, a line of JSON each on standard
// input, and reads what came of it from standard output.
import { createInterface } from 'node:readline';
import { LiquidCommerce, LiquidCommerceOrders, LIQUID_COMMERCE_ENV } from '@liquidcommerce/cloud-sdk';

import { acts } from './acts.mjs';

// The test moves the server's clock, and this one with it, so that nobody waits for a token to expire. The package is as it
// was published: it merely reads the clock.
const now = Date.now;
let ahead = 0;
Date.now = () => now() + ahead;

const all = {
  ...acts({ LiquidCommerce, LiquidCommerceOrders }, LIQUID_COMMERCE_ENV.LOC),
  advance: async (ms) => (ahead += ms),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [act, ...args] = JSON.parse(line);
  let said;
  try {
    said = { ok: await all[act](...args) };
  } catch (e) {
    said = { error: e.message ?? String(e) };
  }
  process.stdout.write(`${JSON.stringify(said)}\n`);
}
