import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { digest } from '../../../tpm/crypto/digest.ts';
import { bootAggregates } from '../../../tpm/eventlog/boot-aggregate.ts';
import { eventTypeName } from '../../../tpm/eventlog/event-types.ts';
import { hasErrors } from '../../../tpm/eventlog/finding.ts';
import { EXIT_BOOT_SERVICES, EXIT_BOOT_SERVICES_SUCCESS } from '../../../tpm/eventlog/known-digests.ts';
import { parseEventLog } from '../../../tpm/eventlog/parse.ts';
import { readEventLog } from '../../../tpm/eventlog/read-event-log.ts';
import { ReplayedBank, replayLog } from '../../../tpm/eventlog/replay.ts';
import type { ReplayedPcrs } from '../../../tpm/eventlog/replay.ts';
import { TPM_ALG_SHA1, algorithmName, hashAlgorithmByName } from '../../../tpm/structures/constants.ts';
import { conformancePath, dataIsHere } from '../../support/data.ts';
import { MEASURED_BOOTS, conformanceLogs, measuredLog, measuredPcrs } from './real-logs.ts';

/**
 * The expectations begin PCR 0 of the log with an H-CRTM at zero; its source asserts SHA-1 15f4e6ca…, which is what begins at 4, as
 * Part 1 §34 demands.
 */
const HCRTM_LOG = 'binary_measurements_hcrtm.b64';
const HCRTM_SHA1_PCR0 = '15f4e6ca457d1af6bc49511a93ba3500ad69acc5';
/** Fixtures of one event: a log so short is no whole boot. */
const FRAGMENTS = ['event-uefivar.bin'];

function toHex(pcrs: ReplayedPcrs): Record<string, Record<string, string>> {
  return Object.fromEntries(
    [...pcrs].map(([alg, values]) => [
      algorithmName(alg),
      Object.fromEntries([...values].map(([pcr, value]) => [String(pcr), value.toString('hex')])),
    ]),
  );
}

describe.skipIf(!dataIsHere('conformance'))('logs of real machines', () => {
  const logs = dataIsHere('conformance') ? conformanceLogs() : [];

  test('are all here', () => {
    expect(logs.length).toBeGreaterThanOrEqual(22);
  });

  test.each(logs)('$name gives the PCRs that an independent program computed', ({ name, bytes, expected }) => {
    const log = parseEventLog(bytes);
    expect(log).toMatchObject({ format: expected.format, complete: true });
    expect(log.events).toHaveLength(expected.events);
    const pcrs = toHex(replayLog(log).pcrs);
    for (const [bank, values] of Object.entries(expected.pcrs)) {
      if (!name.endsWith(HCRTM_LOG)) {
        expect(pcrs[bank], bank).toEqual(values);
        continue;
      }
      const { '0': pcr0, ...others } = pcrs[bank] ?? {};
      const { '0': expectedPcr0, ...expectedOthers } = values;
      expect(others, bank).toEqual(expectedOthers);
      expect(pcr0, bank).not.toBe(expectedPcr0);
      if (bank === 'sha1') expect(pcr0).toBe(HCRTM_SHA1_PCR0);
    }
  });

  test.each(logs.filter(({ name }) => !name.endsWith(HCRTM_LOG)))(
    '$name gives the boot aggregates, in both variants',
    ({ bytes, expected }) => {
      const aggregates = bootAggregates(replayLog(parseEventLog(bytes)));
      const named: Record<string, string> = {};
      for (const [alg, { pcr0To7, pcr0To9 }] of aggregates) {
        const name = algorithmName(alg);
        named[name] = (name === 'sha1' ? pcr0To7 : pcr0To9).toString('hex');
        if (name !== 'sha1') named[`${name}_pcr0_7`] = pcr0To7.toString('hex');
      }
      expect(named).toMatchObject(expected.bootAggregate);
    },
  );

  test.each(logs)('$name holds the expected events and Secure Boot state', ({ bytes, expected }) => {
    const { log, secureBoot } = readEventLog(bytes);
    const counts: Record<string, number> = {};
    for (const { type } of log.events) counts[`0x${type.toString(16)}`] = (counts[`0x${type.toString(16)}`] ?? 0) + 1;
    expect(counts).toEqual(expected.eventTypes);
    const modes: Readonly<Record<string, string>> = { '': 'unset', '00': 'disabled', '01': 'enabled' };
    expect(secureBoot.mode).toBe(modes[expected.secureBootVariableHex ?? 'none'] ?? 'unknown');
    const unlisted = [secureBoot.sbatLevel, secureBoot.mokListTrusted].filter((part) => part !== undefined);
    expect(secureBoot.authorities.length + unlisted.length).toBe(expected.authorityEvents);
    expect(secureBoot.authorities.every(({ inDb }) => inDb !== false)).toBe(true);
  });

  test.each(logs.filter(({ name }) => !FRAGMENTS.some((fragment) => name.endsWith(fragment))))(
    '$name is consistent: no finding of severity error, whatever its vendor',
    ({ bytes }) => {
      const { findings } = readEventLog(bytes);
      expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
    },
  );

  test('one without ExitBootServices actions is right with them, and says so', () => {
    const log = logs.find(({ name }) => name.endsWith('ebs_event_missing_eventlog'));
    const bytes = log?.bytes ?? Buffer.alloc(0);
    const bank = new ReplayedBank(TPM_ALG_SHA1, 0);
    bank.load(replayLog(parseEventLog(bytes)).pcrs.get(TPM_ALG_SHA1) ?? new Map());
    for (const action of [EXIT_BOOT_SERVICES, EXIT_BOOT_SERVICES_SUCCESS]) {
      bank.extend(5, digest(TPM_ALG_SHA1, Buffer.from(action)));
    }
    expect(bank.value(5).toString('hex')).toMatch(/^31245808/);
    const { findings, pcrs, replay } = readEventLog(bytes, { pcrs: new Map([[TPM_ALG_SHA1, bank.values()]]) });
    expect(findings).toContainEqual(
      expect.objectContaining({ code: 'EXIT_BOOT_SERVICES_MISSING', severity: 'warning', pcr: 5 }),
    );
    expect(pcrs).toContainEqual({ bank: TPM_ALG_SHA1, pcr: 5, outcome: 'deviation' });
    expect(replay.pcrs.get(TPM_ALG_SHA1)?.get(5)).not.toEqual(bank.value(5));
    const wrong = new Map([[TPM_ALG_SHA1, new Map([[5, Buffer.alloc(20, 7)]])]]);
    expect(readEventLog(bytes, { pcrs: wrong }).findings).toContainEqual(
      expect.objectContaining({ code: 'PCR_MISMATCH', pcr: 5 }),
    );
  });

  test.each([
    ['a bogus', 'binary_bios_measurements-bogus', 'EVENT_TRUNCATED'],
    ['an empty', 'binary_bios_measurements-empty', 'LOG_EMPTY'],
  ])('%s log is refused', (_, file, code) => {
    const bytes = readFileSync(conformancePath('keylime+keylime/test/data/create-mb-policy', file));
    const { log, findings } = readEventLog(bytes);
    expect(log.events).toEqual([]);
    expect(log.complete).toBe(false);
    expect(findings).toContainEqual(expect.objectContaining({ code, severity: 'error' }));
  });

  test('a header with information of the vendor is read, and is no boot', () => {
    const bytes = readFileSync(
      conformancePath('tpm2-software+tpm2-tools/test/integration/fixtures/specid-vendordata.bin'),
    );
    const { log, findings } = readEventLog(bytes);
    expect(log.specId?.vendorInfo.toString('hex')).toBe('deadbeef');
    expect(log.banks.map(({ alg }) => algorithmName(alg))).toEqual(['sha1', 'sha256']);
    const codes = findings.map(({ code }) => code);
    expect(codes).toEqual(expect.arrayContaining(['SPEC_ID_VENDOR_INFO', 'LOG_WITHOUT_MEASUREMENTS']));
    expect(hasErrors(findings)).toBe(true);
  });

  test('a log with StartupLocality 3 begins PCR 0 with it', () => {
    const log = logs.find(({ name }) => name.endsWith('glinux-alex.bin'));
    const { startup } = replayLog(parseEventLog(log?.bytes ?? Buffer.alloc(0)));
    expect(startup).toMatchObject({ locality: 3, hcrtm: false, findings: [] });
  });

  test('the types have the names that every tool gives them', () => {
    const names = new Set(
      logs.flatMap(({ bytes }) => parseEventLog(bytes).events.map(({ type }) => eventTypeName(type))),
    );
    expect([...names].filter((name) => !name.startsWith('EV_'))).toEqual(['0x0000040e']);
  });
});

describe.skipIf(!dataIsHere('measured-boot'))('our own boots', () => {
  test.each(MEASURED_BOOTS)('%s replays to the PCRs that its TPM had, in every bank', (boot) => {
    const { pcrs } = replayLog(parseEventLog(measuredLog(boot)));
    const had = measuredPcrs(boot);
    expect([...pcrs.keys()].map(algorithmName)).toEqual([...had.keys()]);
    for (const [alg, values] of pcrs) {
      for (const pcr of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14]) {
        const value = values.get(pcr)?.toString('hex') ?? '0'.repeat(had.get(algorithmName(alg))?.get(0)?.length ?? 0);
        expect(value, `${algorithmName(alg)} pcr ${pcr}`).toBe(had.get(algorithmName(alg))?.get(pcr));
      }
    }
  });

  test.each(MEASURED_BOOTS)('%s is explained by its log but for PCR 10, which is IMA’s', (boot) => {
    const given = new Map(
      [...measuredPcrs(boot)].map(([bank, values]) => [
        hashAlgorithmByName(bank)?.alg ?? 0,
        new Map([...values].map(([pcr, value]) => [pcr, Buffer.from(value, 'hex')])),
      ]),
    );
    const { findings, pcrs } = readEventLog(measuredLog(boot), { pcrs: given });
    expect(hasErrors(findings)).toBe(false);
    expect(pcrs.some(({ outcome }) => outcome === 'different')).toBe(false);
    expect(findings.filter(({ code }) => code === 'PCR_WITHOUT_EVENTS').map(({ pcr }) => pcr)).toEqual([10, 10, 10]);
  });
});
