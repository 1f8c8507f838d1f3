import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { eventTypeName } from '../../../tpm/eventlog/event-types.ts';
import { parseEventLog } from '../../../tpm/eventlog/parse.ts';
import type { EventLog } from '../../../tpm/eventlog/parse.ts';
import { algorithmName } from '../../../tpm/structures/constants.ts';
import { conformancePath, dataIsHere, measuredBootPath } from '../../support/data.ts';
import { MEASURED_BOOTS, measuredLog } from './real-logs.ts';

/** An event as tpm2_eventlog prints it, in YAML or JSON. */
interface PrintedEvent {
  readonly EventNum: number;
  readonly PCRIndex: number;
  readonly EventType: string;
  readonly EventSize: number;
  readonly Digest?: string;
  readonly Digests?: readonly { readonly AlgorithmId: string; readonly Digest: string }[];
}

interface Printed {
  readonly name: string;
  readonly log: Buffer;
  readonly text: string;
}

const fixtures = 'tpm2-software+tpm2-tools/test/integration/fixtures';
const goodLogs = 'keylime+python3-uefi-eventlog/testing/good_logs';

function printedByTools(): readonly Printed[] {
  const yaml = ['event-raw', 'event-pretty'].flatMap((folder) =>
    readdirSync(conformancePath(fixtures, folder)).map((file) => ({
      name: `${folder}/${file}`,
      log: readFileSync(conformancePath(fixtures, file.replace(/\.yaml$/, ''))),
      text: readFileSync(conformancePath(fixtures, folder, file), 'utf8'),
    })),
  );
  const json = readdirSync(conformancePath(goodLogs)).map((machine) => {
    const folder = conformancePath(goodLogs, machine);
    const parsed = join(folder, 'parsed-tpm2-tools-5.5', 'fixed');
    const [file = ''] = readdirSync(parsed).filter((name) => name.endsWith('.json'));
    const log = readFileSync(join(folder, file.replace(/\.json$/, '.bin')));
    return { name: machine, log, text: readFileSync(join(parsed, file), 'utf8') };
  });
  return [...yaml, ...json];
}

/** Some releases print what YAML forbids in a string; what is compared stands in lines that are sound. */
function readPrinted(text: string): readonly PrintedEvent[] {
  const { events } = (text.startsWith('{') ? JSON.parse(text) : parse(text, { strict: false })) as {
    readonly events: readonly PrintedEvent[];
  };
  return events;
}

/** The parts that both sides say. Tools name a type that they do not know in their own ways. */
function comparable(printed: readonly PrintedEvent[]): readonly unknown[] {
  return printed.map(({ EventNum, PCRIndex, EventType, EventSize, Digest, Digests }) => ({
    index: EventNum,
    pcr: PCRIndex,
    type: EventType.startsWith('EV_') ? EventType : 'unknown',
    size: EventSize,
    digests:
      EventNum === 0 && Digest !== undefined
        ? {}
        : Object.fromEntries((Digests ?? []).map((entry) => [entry.AlgorithmId, entry.Digest])),
  }));
}

function ours(log: EventLog): readonly unknown[] {
  return log.events.map(({ index, pcr, type, data, digests }) => {
    const name = eventTypeName(type);
    return {
      index,
      pcr,
      type: name.startsWith('EV_') ? name : 'unknown',
      size: data.length,
      digests: Object.fromEntries(
        digests.flatMap((digest, position) => {
          const alg = log.banks[position]?.alg;
          return alg === undefined || digest === undefined ? [] : [[algorithmName(alg), digest.toString('hex')]];
        }),
      ),
    };
  });
}

describe.skipIf(!dataIsHere('conformance'))('events as tpm2-tools parsed them', () => {
  const cases = dataIsHere('conformance') ? printedByTools() : [];

  test('are all here', () => {
    expect(cases.length).toBeGreaterThanOrEqual(14);
  });

  test.each(cases)('$name: index, PCR, type, size and digests agree', ({ log, text }) => {
    expect(ours(parseEventLog(log))).toEqual(comparable(readPrinted(text)));
  });
});

describe.skipIf(!dataIsHere('measured-boot'))('events of our own boots as tpm2_eventlog printed them', () => {
  test.each(MEASURED_BOOTS)('%s agrees', (boot) => {
    const text = readFileSync(measuredBootPath(boot, 'eventlog.yaml'), 'utf8');
    expect(ours(parseEventLog(measuredLog(boot)))).toEqual(comparable(readPrinted(text)));
  });
});
