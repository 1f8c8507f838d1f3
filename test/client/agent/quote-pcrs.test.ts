import { beforeEach, expect, test } from 'vitest';
import type { HostAk } from '../../../client/agent/host-tpm.ts';
import { quotePcrs } from '../../../client/agent/quote-pcrs.ts';
import { SoftwareTpm } from '../support/software-tpm.ts';

let tpm: SoftwareTpm;
let ak: HostAk;

beforeEach(async () => {
  tpm = new SoftwareTpm();
  const [ek] = await tpm.endorsementKeys();
  if (ek === undefined) throw new TypeError('the software tpm has an ek');
  ak = await tpm.loadAk(ek, await tpm.createAk(ek));
  tpm.calls.length = 0;
});

const request = async () => ({ qualifyingData: Buffer.alloc(32), selection: await tpm.activeBanks() });
const move = (index: number, value: number): void => void tpm.pcrs.set(index, Buffer.alloc(32, value));

test('one quote and one reading where nothing moves', async () => {
  const { pcrValues } = await quotePcrs(tpm, ak, await request());
  expect(tpm.calls).toEqual(['quote', 'readPcrs']);
  expect(pcrValues.map(({ index }) => index)).toEqual([...Array(24).keys()]);
});

test('quotes again where a PCR moved in between', async () => {
  tpm.afterQuote = (count) => (count === 1 ? move(4, 99) : undefined);
  const { pcrValues } = await quotePcrs(tpm, ak, await request());
  expect(tpm.calls).toEqual(['quote', 'readPcrs', 'quote']);
  expect(pcrValues[4]?.digest).toEqual(Buffer.alloc(32, 99));
});

test('a reading from before the second quote serves where PCR 10 moved after it', async () => {
  tpm.afterQuote = (count) => move(10, 100 + count);
  const { pcrValues } = await quotePcrs(tpm, ak, await request());
  expect(tpm.calls).toEqual(['quote', 'readPcrs', 'quote']);
  expect(pcrValues[10]?.digest).toEqual(Buffer.alloc(32, 101));
});

test('does not quote for ever where nothing but PCR 10 moves', async () => {
  const readPcrs = tpm.readPcrs.bind(tpm);
  let readings = 0;
  tpm.afterQuote = () => move(10, 100 + readings);
  tpm.readPcrs = async (selection) => {
    const values = await readPcrs(selection);
    readings += 1;
    move(10, 200 + readings);
    return values;
  };
  await quotePcrs(tpm, ak, await request());
  expect(tpm.calls.filter((call) => call === 'quote')).toHaveLength(2);
});

test('gives up after five quotes where PCRs never rest', async () => {
  const readPcrs = tpm.readPcrs.bind(tpm);
  let moves = 0;
  tpm.afterQuote = () => move(4, (moves += 1));
  tpm.readPcrs = async (selection) => {
    const values = await readPcrs(selection);
    move(4, (moves += 1));
    return values;
  };
  await quotePcrs(tpm, ak, await request());
  expect(tpm.calls.filter((call) => call === 'quote')).toHaveLength(5);
});
